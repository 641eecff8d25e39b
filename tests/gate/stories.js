// What people meet at the login in front of pods, in Chromium.
//
//	stories.js '{"api": …, "edge": …, "users": {…}, "shots": …}' [STORY...]
//
// Each story prints "ok NAME" or "not ok NAME: REASON". A story that is given is run
// alone.
"use strict";

const assert = require("node:assert/strict");
const dns = require("node:dns");
const path = require("node:path");
const { chromium } = require("playwright-core");

// Chromium knows that all names below localhost are this machine. Node asks, and not
// everybody who is asked knows.
const { lookup } = dns.promises;
dns.promises.lookup = async (name, options) => lookup(name.endsWith(".localhost") ? "127.0.0.1" : name, options);

const limit = 30_000; // for what takes no time, on a machine that is busy

const world = JSON.parse(process.argv[2]);
let browser;

// on is the address of a path of a pod.
const on = (pod, pathname = "/") => `https://${pod}.pods.dev.localhost:${world.edge}${pathname}`;

// call calls the API as testuser, who owns all pods.
async function call(method, pathname, body) {
	const response = await fetch(`${world.api}/v3${pathname}`, {
		method,
		headers: { "X-Tapis-Token": world.users.testuser, "Content-Type": "application/json" },
		body: body && JSON.stringify(body),
	});
	const answer = await response.json();
	assert.equal(response.status, 200, `${method} ${pathname}: ${JSON.stringify(answer.message)}`);
	return answer.result;
}

// person is somebody with a browser of their own.
async function person(options = {}) {
	const context = await browser.newContext({ ignoreHTTPSErrors: true, ...options }); // the test's CA is in no store
	context.setDefaultTimeout(limit);
	return context;
}

// logIn opens an address and logs in as somebody, and consents if asked.
async function logIn(page, address, user) {
	await page.goto(address);
	await page.getByLabel("Username").fill(user);
	await page.getByLabel("Password").fill(user);
	await page.getByRole("button", { name: "Log in" }).click();
	await consent(page);
	await page.waitForURL((u) => u.hostname.endsWith(".pods.dev.localhost"));
}

// consent approves, unless that was done before.
async function consent(page) {
	const approve = page.getByRole("button", { name: "Approve" });
	await Promise.race([approve.waitFor(), page.waitForURL((u) => u.hostname.endsWith(".pods.dev.localhost"))]);
	if (await approve.isVisible()) await approve.click();
}

// isAsked expects that an address leads to the login.
async function isAsked(page, address) {
	await page.goto(address);
	await page.waitForURL((u) => u.origin !== new URL(address).origin || u.pathname === "/.podway/login");
}

const cookiesOf = async (context, pod) => (await context.cookies(on(pod))).map((c) => c.name).sort();

// eventually waits until a condition holds.
async function eventually(holds, what) {
	const until = Date.now() + limit;
	while (!(await holds())) {
		if (Date.now() > until) throw new Error(`never reached: ${what}`);
		await new Promise((resolve) => setTimeout(resolve, 50));
	}
}

const stories = {
	async "a visitor logs in and is back on the page first asked for"() {
		const context = await person();
		const page = await context.newPage();
		await logIn(page, on("web", "/headers?a=b&c=%2F"), "testuser");
		assert.equal(page.url(), on("web", "/headers?a=b&c=%2F"));
		const text = await page.textContent("body");
		assert.match(text, /testuser@dev/);
		assert.doesNotMatch(text, /__Host-pods/);
		const [session] = await context.cookies(on("web"));
		assert.deepEqual(
			{ name: session.name, httpOnly: session.httpOnly, secure: session.secure, sameSite: session.sameSite, path: session.path },
			{ name: "__Host-pods_session", httpOnly: true, secure: true, sameSite: "Lax", path: "/" },
		);
		assert.equal(session.domain, "web.pods.dev.localhost");
		assert.equal(await page.evaluate(() => document.cookie), "");
	},

	async "who is not on the list is told so"() {
		const context = await person();
		const page = await context.newPage();
		await logIn(page, on("web"), "otheruser");
		await page.getByRole("heading", { name: "You may not open this pod" }).waitFor();
	},

	async "who is taken off the list is out within a second"() {
		await call("POST", "/pods/web/permissions", { user: "otheruser", level: "READ" });
		const context = await person();
		const page = await context.newPage();
		await eventually(async () => {
			await logIn(page, on("web"), "otheruser");
			return (await page.getByRole("heading", { name: "You may not open this pod" }).count()) === 0;
		}, "otheruser may pass");
		await page.evaluate(async () => {
			const socket = new WebSocket(`wss://${location.host}/ws`);
			await new Promise((resolve, reject) => {
				socket.onmessage = resolve;
				socket.onerror = reject;
				socket.onopen = () => socket.send("hello");
			});
			window.ended = new Promise((resolve) => (socket.onclose = () => resolve(Date.now())));
		});
		const before = Date.now();
		await call("DELETE", "/pods/web/permissions/otheruser");
		const took = (await page.evaluate(() => window.ended)) - before;
		console.log(`# the WebSocket ended ${took} ms after the call that took the permission away began`);
		assert.ok(took < world.soon, `it took ${took} ms`);
		const response = await page.goto(on("web", "/headers"));
		assert.equal(response.status(), 403);
	},

	async "a logout ends the session of one pod, or of all"() {
		const context = await person();
		const page = await context.newPage();
		await logIn(page, on("web"), "testuser");
		await page.goto(on("lab"));
		await consent(page);
		await page.waitForURL(on("lab"));
		await page.goto(on("web", "/.podway/logout"));
		await page.getByRole("button", { name: "Log out of this pod" }).click();
		await page.getByRole("heading", { name: "Logged out" }).waitFor();
		assert.deepEqual(await cookiesOf(context, "web"), []);
		assert.equal((await context.request.get(on("web"))).status(), 401);
		assert.equal((await page.goto(on("lab"))).status(), 200);
		await page.goto(on("lab", "/.podway/logout"));
		await page.getByRole("button", { name: "Log out of all pods" }).click();
		await page.getByRole("heading", { name: "Logged out" }).waitFor();
		assert.equal((await context.request.get(on("lab"))).status(), 401);
	},

	async "a logout everywhere ends what other browsers have open"() {
		const [one, two] = [await person(), await person()];
		const [here, there] = [await one.newPage(), await two.newPage()];
		await logIn(here, on("web"), "testuser");
		await logIn(there, on("lab"), "testuser");
		await here.goto(on("web", "/.podway/logout"));
		await here.getByRole("button", { name: "Log out of all pods" }).click();
		await here.getByRole("heading", { name: "Logged out" }).waitFor();
		await eventually(async () => (await two.request.get(on("lab"))).status() === 401, "the other browser is out");
	},

	async "a session that has expired asks for a login"() {
		const short = await (await fetch(`${world.helper}/short`)).json();
		const context = await person();
		await context.addCookies([{ name: "__Host-pods_session", value: short.id, url: on("web"), secure: true, httpOnly: true, sameSite: "Lax" }]);
		const page = await context.newPage();
		assert.equal((await page.goto(on("web", "/headers"))).status(), 200);
		await page.evaluate(async () => {
			const socket = new WebSocket(`wss://${location.host}/ws`);
			await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
			window.ended = new Promise((resolve) => (socket.onclose = resolve));
		});
		await page.evaluate(async () => void (await window.ended));
		assert.ok(Date.now() >= short.expires, "the WebSocket ended before the session");
		await isAsked(page, on("web", "/headers"));
	},

	async "two pods share no session"() {
		const context = await person();
		const page = await context.newPage();
		await logIn(page, on("web"), "testuser");
		assert.deepEqual(await cookiesOf(context, "lab"), []);
		assert.equal((await context.request.get(on("lab"))).status(), 401);
		const [session] = await context.cookies(on("web"));
		const thief = await person();
		await thief.addCookies([{ name: session.name, value: session.value, url: on("lab"), secure: true, httpOnly: true, sameSite: "Lax" }]);
		assert.equal((await thief.request.get(on("lab"))).status(), 401);
	},

	async "an open pod beside it gets nothing of the login"() {
		const context = await person();
		const page = await context.newPage();
		await logIn(page, on("web"), "testuser");
		const response = await page.goto(on("open", "/headers"));
		assert.equal(response.status(), 200);
		assert.doesNotMatch(await page.textContent("body"), /pods_session|X-Who|X-Pods-Assertion/i);
	},

	async "a link opens a pod once its button is pressed"() {
		const made = await call("POST", "/pods/shared/access-tokens", { label: "guests", kind: "link", max_uses: 1 });
		const link = world.link(made);
		const context = await person();
		const page = await context.newPage();
		await (await person()).request.get(link); // a preview does not count
		await page.goto(link);
		await page.getByRole("button", { name: "Open the pod" }).click();
		await page.waitForURL(on("shared", "/headers"));
		assert.match(await page.textContent("body"), /X-Tapis-Gate-Code/i);
		assert.doesNotMatch(await page.textContent("body"), new RegExp(made.secret));
		const late = await (await person()).newPage();
		await late.goto(link);
		await late.getByRole("button", { name: "Open the pod" }).click();
		await late.getByRole("heading", { name: "This link does not work" }).waitFor();
		await call("DELETE", `/pods/shared/access-tokens/${made.id}`);
		await eventually(async () => (await context.request.get(on("shared"))).status() === 401, "the link was revoked");
	},

	async "a password opens a pod"() {
		const made = await call("POST", "/pods/shared/access-tokens", { label: "class", kind: "password", password: "open sesame please" });
		const page = await (await person()).newPage();
		await page.goto(on("shared"));
		await page.getByLabel("Password").fill("not this");
		await page.getByRole("button", { name: "Open the pod" }).click();
		await page.getByRole("alert").waitFor();
		await page.getByLabel("Password").fill("open sesame please");
		await page.getByRole("button", { name: "Open the pod" }).click();
		await page.waitForURL(on("shared", "/headers"));
	},

	async "either way opens a pod that has both"() {
		const page = await (await person()).newPage();
		await page.goto(on("both", "/headers?x=1"));
		await page.getByRole("heading", { name: "This pod is not public" }).waitFor();
		await page.getByRole("link", { name: "Log in with Tapis" }).click();
		await page.getByLabel("Username").fill("testuser");
		await page.getByLabel("Password").fill("testuser");
		await page.getByRole("button", { name: "Log in" }).click();
		await consent(page);
		await page.waitForURL(on("both", "/headers?x=1"));
	},

	// The pod at host "hostile" belongs to somebody who wants what visitors have: it
	// answers with all the tricks of hostile_test.go, which looks at what it received.
	async "a hostile pod learns nothing and harms nobody"() {
		const context = await person();
		const page = await context.newPage();
		await logIn(page, on("web"), "testuser");
		const before = await context.cookies();
		assert.equal((await fetch(`${world.helper}/hostile`)).status, 200);
		await page.goto(on("hostile"));
		await consent(page);
		await page.waitForURL(on("hostile"));
		await page.locator("#done").waitFor({ state: "attached" });
		const own = (await page.evaluate(() => document.cookie)).split("; ").sort();
		assert.deepEqual(own, ["own=1", "tossed1=1", "tossed2=1", "tossed3=1"], `stolen: ${await page.evaluate(() => window.stolen)}`);
		assert.equal(await page.evaluate(() => window.stolen), "");
		const others = (cookies) => cookies.filter((c) => !c.domain.endsWith("hostile.pods.dev.localhost")).map((c) => `${c.domain} ${c.name} ${c.value}`).sort();
		assert.deepEqual(others(await context.cookies()), others(before));
		await page.goto(on("hostile", "/away"));
		await page.waitForURL(on("web", "/headers?from=hostile"));
		const text = await page.textContent("body");
		assert.match(text, /testuser@dev/);
		assert.doesNotMatch(text, /tossed/);
	},
};

async function main() {
	browser = await chromium.launch({
		executablePath: process.env.CHROMIUM,
		args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
	});
	world.link = (made) => made.redemption_url || on("shared", `/.podway/share?t=${encodeURIComponent(made.secret)}`);
	const wanted = process.argv.slice(3);
	try {
		for (const [name, story] of Object.entries(stories)) {
			if (wanted.length > 0 && !wanted.includes(name)) continue;
			await run(name, story);
		}
		if (world.shots) await require("./shots.js")({ person, logIn, call, on, consent, dir: world.shots });
	} finally {
		await browser.close();
	}
}

// run tells how a story ended. What somebody has open is closed with it.
async function run(name, story) {
	try {
		await story();
		console.log(`ok ${name}`);
	} catch (error) {
		console.log(`not ok ${name}: ${String(error.stack).replaceAll("\n", "⏎")}`);
	} finally {
		for (const context of browser.contexts()) {
			for (const c of await context.cookies()) if (c.name.startsWith("__Host-pods")) console.log(`secret ${c.value}`);
			await context.close();
		}
	}
}

main().catch((error) => {
	console.error(error);
	process.exit(1);
});

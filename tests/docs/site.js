// Opens every page of the site in Chromium, from the disk. It fails if a page asks another
// machine for anything, logs an error, lacks a picture, or is wider than the screen.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const { chromium } = require("playwright-core");

const [executablePath, site, shots] = process.argv.slice(2);

// The phone sees every page, as nothing is too wide elsewhere if it is not there.
const screens = {
	desktop: { viewport: { width: 1280, height: 800 }, colorScheme: "light" },
	phone: { viewport: { width: 390, height: 800 }, isMobile: true, hasTouch: true, colorScheme: "dark" },
};

// Pages that are seen on the desktop, too, and of which pictures are made.
const chosen = ["index.html", "tutorial.html", "architecture.html", "lifecycle.html", "gate.html", "clients.html",
	"reference/api.html", "reference/podctl.html", "reference/variables.html", "caddyfile/podway.html", "benchmarks.html"];

const faults = [];

function pages(dir = site) {
	return fs.readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
		const file = path.join(dir, entry.name);
		if (entry.isDirectory()) return entry.name === "assets" ? [] : pages(file);
		return file.endsWith(".html") && entry.name !== "404.html" ? [file] : [];
	});
}

// What is wrong with a page that is open.
function inspect() {
	const width = document.documentElement.clientWidth;
	const found = [];
	if (document.documentElement.scrollWidth > width) found.push(`is ${document.documentElement.scrollWidth} wide, the screen ${width}`);
	for (const img of document.images) {
		if (!img.complete || img.naturalWidth === 0) found.push(`lacks the picture ${img.getAttribute("src")}`);
	}
	return found;
}

async function visit(browser, screen, options) {
	const context = await browser.newContext(options);
	const page = await context.newPage();
	page.on("request", (r) => {
		if (!/^(file|data|blob):/.test(r.url())) faults.push(`${page.url()} asks for ${r.url()}`);
	});
	page.on("console", (m) => m.type() === "error" && faults.push(`${page.url()}: ${m.text()}`));
	page.on("pageerror", (e) => faults.push(`${page.url()}: ${e.message}`));
	for (const file of pages()) {
		const name = path.relative(site, file);
		if (screen === "desktop" && !chosen.includes(name)) continue;
		await page.goto(pathToFileURL(file).href);
		for (const fault of await page.evaluate(inspect)) faults.push(`${name} on ${screen}: ${fault}`);
		if (shots && chosen.includes(name)) {
			await page.screenshot({ path: path.join(shots, `${name.replace(/[/.]/g, "-")}-${screen}.png`) });
			await page.screenshot({ path: path.join(shots, `${name.replace(/[/.]/g, "-")}-${screen}-full.png`), fullPage: true });
		}
	}
	await context.close();
}

// The search works without a server.
async function search(browser) {
	const page = await browser.newPage();
	await page.goto(pathToFileURL(path.join(site, "index.html")).href);
	await page.keyboard.press("/");
	await page.keyboard.type("connect-string");
	await page.locator(".md-search-result__item").first().waitFor().catch(() => faults.push("the search finds nothing"));
	if (shots) await page.screenshot({ path: path.join(shots, "search.png") });
	await page.close();
}

(async () => {
	const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
	try {
		for (const [screen, options] of Object.entries(screens)) await visit(browser, screen, options);
		await search(browser);
	} finally {
		await browser.close();
	}
	if (faults.length > 0) throw new Error(`${faults.length} faults:\n${faults.join("\n")}`);
	console.log(`${pages().length} pages`);
})().catch((e) => {
	console.error(e.message);
	process.exit(1);
});

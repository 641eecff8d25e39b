// Screenshots of what people meet at the login: desktop and phone, light and dark.
"use strict";

const path = require("node:path");

const screens = {
	desktop: { viewport: { width: 1024, height: 700 } },
	phone: { viewport: { width: 390, height: 760 }, isMobile: true, hasTouch: true },
};

module.exports = async function shots({ person, logIn, call, on, consent, dir }) {
	const link = (await call("POST", "/pods/shared/access-tokens", { label: "guests", kind: "link" })).redemption_url;
	await call("POST", "/pods/shared/access-tokens", { label: "class", kind: "password", password: "open sesame please" });
	for (const [screen, options] of Object.entries(screens)) {
		for (const colorScheme of ["light", "dark"]) {
			const context = await person({ ...options, colorScheme });
			const page = await context.newPage();
			const shoot = (name) => page.screenshot({ path: path.join(dir, `${name}-${screen}-${colorScheme}.png`), caret: "hide" });
			await page.goto(on("web"));
			await shoot("login");
			await page.getByLabel("Username").fill("otheruser");
			await page.getByLabel("Password").fill("wrong");
			await page.getByRole("button", { name: "Log in" }).click();
			await page.getByRole("alert").waitFor();
			await shoot("login-wrong");
			await page.getByLabel("Username").fill("otheruser");
			await page.getByLabel("Password").fill("otheruser");
			await page.getByRole("button", { name: "Log in" }).click();
			await page.waitForLoadState();
			if (await page.getByRole("button", { name: "Approve" }).isVisible()) {
				await shoot("consent");
				await consent(page);
			}
			await page.getByRole("heading", { name: "You may not open this pod" }).waitFor();
			await shoot("denied");
			await page.goto(on("both"));
			await shoot("choice");
			await page.goto(on("shared"));
			await shoot("password");
			await page.getByLabel("Password").fill("not this");
			await page.getByRole("button", { name: "Open the pod" }).click();
			await page.getByRole("alert").waitFor();
			await shoot("password-wrong");
			await page.goto(link);
			await shoot("link");
			await page.goto(on("lab"));
			await consent(page);
			await page.goto(on("lab", "/.podway/logout"));
			await shoot("logout");
			await page.getByRole("button", { name: "Log out of this pod" }).click();
			await page.getByRole("heading", { name: "Logged out" }).waitFor();
			await shoot("logged-out");
			await context.close();
		}
	}
};

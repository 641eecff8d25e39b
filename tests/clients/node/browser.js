// Chromium as a client of the client matrix.
//
//	browser.js page URL WORD
//	browser.js bolt EXPRESSION WORD
//
// The first opens a page that reads a word over WebSocket, from where it came
// from. The second runs neo4j-driver in a page, as Neo4j Browser does: Bolt in a
// WebSocket. EXPRESSION is the one of docs/clients.md that connects.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { chromium } = require("playwright-core");

const clients = {
	async page(page, url, word) {
		const response = await page.goto(url);
		if (!response.ok()) throw new Error(`got ${response.status()}`);
		await page.fill("#word", word);
		await page.click("#send");
		const read = page.locator("#read");
		await read.filter({ hasText: /./ }).waitFor();
		return read.textContent();
	},

	async bolt(page, expression, word) {
		await page.goto(process.env.PAGE);
		await page.addScriptTag({ path: path.join(process.env.NODE_PATH, "neo4j-driver/lib/browser/neo4j-web.min.js") });
		return page.evaluate(
			async ([expression, word]) => {
				const driver = eval(expression);
				await driver.executeQuery("create (:Seen {word: $word})", { word });
				const { records } = await driver.executeQuery("match (s:Seen {word: $word}) return s.word as word", { word });
				await driver.close();
				return records[0].get("word");
			},
			[expression, word],
		);
	},
};

async function main([client, connect, word]) {
	const browser = await chromium.launch({
		executablePath: process.env.CHROMIUM,
		args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
	});
	try {
		// The test's CA is in no store of the browser.
		const context = await browser.newContext({ ignoreHTTPSErrors: true });
		console.log("read", await clients[client](await context.newPage(), connect, word));
	} finally {
		await browser.close();
	}
}

main(process.argv.slice(2)).catch((error) => {
	console.error(error);
	process.exit(1);
});

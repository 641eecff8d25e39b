// The JavaScript clients of the client matrix.
//
//	client.js LIBRARY EXPRESSION WORD
//
// EXPRESSION is the one of docs/clients.md that connects. Each client writes the
// word, reads it back and prints what it is and what it read.
"use strict";

const fs = require("node:fs");
const path = require("node:path");

const clients = {
	async pg(connect, word) {
		const client = connect();
		await client.connect();
		await client.query("insert into seen values ($1)", [word]);
		const { rows } = await client.query("select word from seen where word = $1", [word]);
		await client.end();
		return rows[0].word;
	},

	async ioredis(connect, word) {
		const client = connect();
		await client.set(word, word);
		const read = await client.get(word);
		await client.quit();
		return read;
	},

	async redis(connect, word) {
		const client = connect();
		await client.connect();
		await client.set(word, word);
		const read = await client.get(word);
		await client.close();
		return read;
	},

	async mongodb(connect, word) {
		const client = connect();
		const seen = client.db("test").collection("seen");
		await seen.insertOne({ word });
		const found = await seen.findOne({ word });
		await client.close();
		return found.word;
	},

	async "neo4j-driver"(connect, word) {
		const driver = connect();
		await driver.executeQuery("create (:Seen {word: $word})", { word });
		const { records } = await driver.executeQuery("match (s:Seen {word: $word}) return s.word as word", { word });
		await driver.close();
		return records[0].get("word");
	},

	ws(connect, word) {
		return new Promise((resolve, reject) => {
			const socket = connect();
			socket.on("open", () => socket.send(word));
			socket.on("error", reject);
			socket.on("message", (data) => {
				resolve(data.toString());
				socket.close();
			});
		});
	},
};

// names are how the documents of each library call what they import.
const names = {
	pg: "pg",
	ioredis: "Redis",
	redis: "redis",
	mongodb: "mongodb",
	"neo4j-driver": "neo4j",
	ws: "WebSocket",
};

async function main([library, expression, word]) {
	const connect = new Function(names[library], `return ${expression}`);
	const imported = require(library);
	const read = await clients[library](() => connect(imported), word);
	const about = JSON.parse(fs.readFileSync(path.join(process.env.NODE_PATH, library, "package.json")));
	console.log(`tried ${library} ${about.version}`);
	console.log(`read ${read}`);
}

main(process.argv.slice(2)).catch((error) => {
	console.error(error);
	process.exit(1);
});

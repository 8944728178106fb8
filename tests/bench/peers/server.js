// A Node.js service: fastify, fast-jwt and pg, one process for each processor
// through cluster. server.js PORT PROCESSES [cache]: with cache, opened keys
// and their verifiers are kept in a Map.
"use strict";
const cluster = require("node:cluster");
const crypto = require("node:crypto");

const [port, processes, cache] = process.argv.slice(2);

function open(master, sealed) {
  const raw = Buffer.from(sealed, "hex");
  const d = crypto.createDecipheriv(
    `aes-${master.length * 8}-gcm`, master, raw.subarray(0, 12));
  d.setAuthTag(raw.subarray(-16));
  const key = Buffer.concat([d.update(raw.subarray(12, -16)), d.final()]);
  return key.toString("hex");
}

async function serve() {
  const fastify = require("fastify")({ logger: false });
  const { createVerifier } = require("fast-jwt");
  const { Pool } = require("pg");
  const master = Buffer.from(process.env.MASTER_KEY, "hex");
  const pool = new Pool({
    host: process.env.PGHOST, database: process.env.PGDATABASE,
    user: process.env.PGUSER, max: 10,
  });
  const kept = new Map();

  async function lookUp(publicKey) {
    const known = cache && kept.get(publicKey);
    if (known) return known;
    const { rows } = await pool.query({
      name: "find",
      text: "SELECT id, name, public_key, encrypted_secret_key, created_at,"
        + " updated_at FROM apps WHERE public_key = $1",
      values: [publicKey],
    });
    if (rows.length === 0) return null;
    const { encrypted_secret_key: sealed, ...app } = rows[0];
    const key = open(master, sealed);
    const found = {
      app, verify: createVerifier({ key, algorithms: ["HS256"] }),
    };
    if (cache) kept.set(publicKey, found);
    return found;
  }

  const text = { type: "string" };
  const app = {
    type: "object",
    properties: {
      id: text, name: text, public_key: text,
      created_at: { type: "string", format: "date-time" },
      updated_at: { type: "string", format: "date-time" },
    },
  };
  const claims = { type: "object", additionalProperties: true };
  // A schema of the answer is fastify's own advice for speed.
  const schema = {
    response: { 200: { type: "object", properties: { app, claims } } },
  };
  fastify.get("/v1/whoami", { schema }, async (request, reply) => {
    const bearer = request.headers.authorization || "";
    const found = await lookUp(request.headers["x-public-key"]);
    try {
      if (!found || !bearer.startsWith("Bearer ")) throw new Error("refused");
      return { app: found.app, claims: found.verify(bearer.slice(7)) };
    } catch {
      return reply.code(401).send({ error: "unauthorized" });
    }
  });
  await fastify.listen({ host: "127.0.0.1", port: Number(port) });
}

if (cluster.isPrimary) {
  for (let i = 0; i < Number(processes); i++) cluster.fork();
} else {
  serve().catch((e) => {
    console.error(e);
    process.exit(1);
  });
}

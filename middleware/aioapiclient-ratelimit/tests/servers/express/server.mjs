// npm's express-rate-limit in four dialects: /draft-6, /draft-7, /draft-8 and /legacy, each caller with a limit of its own.
import express from "express";
import { rateLimit } from "express-rate-limit";

const app = express();
const served = {};

for (const dialect of ["draft-6", "draft-7", "draft-8", "legacy"]) {
  const legacy = dialect === "legacy";
  const limit = rateLimit({
    windowMs: Number(process.argv[2]),
    limit: Number(process.argv[3]),
    standardHeaders: legacy ? false : dialect,
    legacyHeaders: legacy,
    identifier: "api",
    keyGenerator: (request) => request.get("X-Caller"),
    handler: (request, response) => {
      served[request.get("X-Caller")].refused += 1;
      response.status(429).json({});
    },
  });
  const count = (request, response, next) => {
    const of_caller = (served[request.get("X-Caller")] ??= { requests: 0, refused: 0 });
    of_caller.requests += 1;
    next();
  };
  app.get(`/${dialect}`, count, limit, (request, response) => response.json({}));
}
app.get("/served", (request, response) => response.json(served));

const server = app.listen(0, "127.0.0.1", () => console.log(`port ${server.address().port}`));

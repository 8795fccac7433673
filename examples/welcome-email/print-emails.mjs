// Stands in for an e-mail provider, to try the example: it prints each e-mail, and sends none.

import { createServer } from "node:http";

const server = createServer(async (request, response) => {
  let text = "";
  for await (const part of request) text += part;
  console.log(request.headers["idempotency-key"], text);
  response.writeHead(200, { "content-type": "application/json" }).end("{}");
});
server.listen(8025, "127.0.0.1", () => console.log("printing e-mails at http://127.0.0.1:8025"));

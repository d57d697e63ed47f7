// Calls Tencent Cloud's API Gateway with the vendor's own `tencentcloud-sdk-nodejs`, as standard input says.
//
// The lines in and out are those of `../python/tencent.py`. The client is found through NODE_PATH.

"use strict";

const readline = require("node:readline");

const { apigateway } = require("tencentcloud-sdk-nodejs/tencentcloud/services/apigateway");

function clientOf(call) {
  return new apigateway.v20180808.Client({
    credential: { secretId: call.secret_id, secretKey: call.secret_key },
    region: "ap-guangzhou",
    profile: {
      signMethod: call.sign_method,
      language: call.language,
      httpProfile: { protocol: "http://", endpoint: call.endpoint, reqMethod: call.http_method, reqTimeout: 60 },
    },
  });
}

async function outcome(client, call) {
  try {
    const answer = await client[call.action](call.parameters);
    return { result: answer.Result, request_id: answer.RequestId };
  } catch (error) {
    // What has no code is no answer of a server.
    if (!error.code) throw error;
    return { error: { code: error.code, message: error.message, request_id: error.requestId } };
  }
}

async function main() {
  const clients = new Map();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const call = JSON.parse(line);
    const { action, parameters, ...who } = call;
    const key = JSON.stringify(who);
    if (!clients.has(key)) clients.set(key, clientOf(call));
    console.log(JSON.stringify(await outcome(clients.get(key), call)));
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

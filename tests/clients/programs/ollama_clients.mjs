// ollama for JavaScript, and the AI SDK's two providers for Ollama: text and image, streamed, an object.
import { readFileSync } from "node:fs";

import { generateText, Output, streamText } from "ai";
import { createOllama as createAiSdkOllama } from "ai-sdk-ollama";
import { Ollama } from "ollama";
import { createOllama as createProvider } from "ollama-ai-provider-v2";
import { z } from "zod";

const [baseURL, picture, prompt, name] = process.argv.slice(2);
const scene = z.object({
  shape: z.enum(["circle", "star", "square", "nothing"]),
  count: z.number().int().min(0).max(9),
  note: z.string().max(12).nullable(),
});
const image = readFileSync(picture);

async function withOllama() {
  const client = new Ollama({ host: baseURL });
  const asked = { model: "nano", messages: [{ role: "user", content: prompt, images: [image] }] };
  const { models } = await client.list();
  if (models[0].name !== "nano") throw new Error("the model is not listed");
  const whole = await client.chat(asked);
  let streamed = "";
  for await (const part of await client.chat({ ...asked, stream: true })) {
    streamed += part.message.content;
  }
  const schema = await client.chat({ ...asked, format: z.toJSONSchema(scene) });
  return {
    text: whole.message.content,
    streamed,
    schema: scene.parse(JSON.parse(schema.message.content)),
  };
}

async function withAiSdk(model, data) {
  const content = [
    { type: "text", text: prompt },
    { type: "image", image: data },
  ];
  const asked = { model, messages: [{ role: "user", content }], maxRetries: 0 };
  const schema = await generateText({ ...asked, output: Output.object({ schema: scene }) });
  return {
    text: (await generateText(asked)).text,
    streamed: await streamText(asked).text,
    schema: schema.output,
  };
}

const clients = {
  ollama: withOllama,
  "ai-sdk-ollama": () => withAiSdk(createAiSdkOllama({ baseURL })("nano"), image),
  "ollama-ai-provider-v2": () =>
    withAiSdk(createProvider({ baseURL: `${baseURL}/api` })("nano"), image.toString("base64")),
};
console.log(JSON.stringify(await clients[name]()));

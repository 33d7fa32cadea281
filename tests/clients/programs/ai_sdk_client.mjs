// The AI SDK with @ai-sdk/openai-compatible: text and image, streamed, and an object.
import { readFileSync } from "node:fs";

import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, streamText } from "ai";
import { z } from "zod";

const [baseURL, picture, prompt] = process.argv.slice(2);
const provider = (supportsStructuredOutputs) =>
  createOpenAICompatible({ name: "sightline", baseURL, apiKey: "any", supportsStructuredOutputs });
const scene = z.object({
  shape: z.enum(["circle", "star", "square", "nothing"]),
  count: z.number().int().min(0).max(9),
  note: z.string().max(12).nullable(),
});
const content = [
  { type: "text", text: prompt },
  { type: "image", image: readFileSync(picture) },
];
const asked = {
  model: provider(true)("nano"),
  messages: [{ role: "user", content }],
  maxRetries: 0,
};

const { text } = await generateText(asked);
const streamed = await streamText(asked).text;
const { object } = await generateObject({ ...asked, schema: scene });
const free = await generateObject({
  ...asked,
  model: provider(false)("nano"),
  output: "no-schema",
});
const responses = { ...asked, model: createOpenAI({ baseURL, apiKey: "any" })("nano") };
const found = {
  text,
  streamed,
  object,
  free: free.object,
  "responses text": (await generateText(responses)).text,
  "responses streamed": await streamText(responses).text,
  "responses object": (await generateObject({ ...responses, schema: scene })).object,
};
console.log(JSON.stringify(found));

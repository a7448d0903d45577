// The API reference, generated from the OpenAPI document.

import { address } from "./api.js";
import { element } from "./ranking.js";

const main = document.getElementById("api");
const schemaName = (reference) => reference.split("/").pop();

// Describe a schema in a few words: "list of text", "a number from 0 to 1".
function kind(schema) {
  if (schema.$ref) return schemaName(schema.$ref);
  const any = schema.anyOf?.filter((other) => other.type !== "null");
  if (any) return any.map(kind).join(" or ");
  if (schema.type === "array") return `list of ${kind(schema.items)}`;
  if (schema.format === "binary") return "file";
  const bounds = [
    schema.minimum !== undefined && `from ${schema.minimum}`,
    schema.maximum !== undefined && `to ${schema.maximum}`,
  ].filter(Boolean);
  return [{ string: "text", boolean: "true or false" }[schema.type] ?? schema.type, ...bounds].join(" ");
}

function row(name, ...cells) {
  const made = element("tr");
  const head = element("th", "", name);
  head.scope = "row";
  made.append(head, ...cells.map((text, place) => element("td", place + 1 < cells.length ? "kind" : "", text)));
  return made;
}

function fields(schema, sent = false) {
  const table = element("table");
  for (const [name, value] of Object.entries(schema.properties ?? {})) {
    const rest = [
      sent && value.default !== undefined && `default ${JSON.stringify(value.default)}`,
      sent && schema.required?.includes(name) && "required",
    ].filter(Boolean);
    const about = [value.description, rest.length && `(${rest.join(", ")})`].filter(Boolean).join(" ");
    table.append(row(name, kind(value), about));
  }
  return table;
}

function operation(path, verb, about) {
  const card = element("article", "card");
  const title = element("h3");
  title.append(element("span", "verb", verb.toUpperCase()), element("span", "", path));
  card.append(title, element("p", "", about.description ?? ""));
  if (about.security) card.append(element("p", "quiet small", "Requires the header Authorization: Bearer TOKEN."));
  for (const [type, content] of Object.entries(about.requestBody?.content ?? {})) {
    card.append(element("h4", "", `Send ${type}`), fields(content.schema, true));
  }
  const { 200: answer, ...refusals } = about.responses;
  const schema = Object.values(answer.content)[0].schema ?? {};
  card.append(element("h4", "", `Response: ${schema.$ref ? schemaName(schema.$ref) : "text"}`));
  const more = element("details");
  const rows = Object.entries(refusals).map(([status, { description }]) => row(status, description));
  const table = element("table");
  table.append(...rows);
  more.append(element("summary", "", `Errors: ${Object.keys(refusals).join(", ")}`), table);
  card.append(more);
  if (about.example) card.append(element("pre", "", about.example));
  return card;
}

function examples(secured) {
  const token = secured ? ' -H "Authorization: Bearer $VLPROMPT_TOKEN"' : "";
  return {
    "post /v1/predict": `curl -F image=@one.jpg -F image=@two.jpg -F top=3${token} ${address("v1/predict")}`,
    "get /v1/classes": `curl${token} ${address("v1/classes")}`,
    "post /v1/classes": `curl -H 'Content-Type: application/json' -d '{"names": ["a slice of cake"]}'${token} ${address("v1/classes")}`,
    "get /healthz": `curl ${address("healthz")}`,
    "get /metrics": `curl${token} ${address("metrics")}`,
  };
}

const api = await (await fetch(address("openapi.json"))).json();
const known = examples(Boolean(api.components.securitySchemes));
for (const [path, verbs] of Object.entries(api.paths)) {
  for (const [verb, about] of Object.entries(verbs)) {
    main.append(operation(path, verb, { ...about, example: known[`${verb} ${path}`] }));
  }
}
main.append(element("h2", "", "Response schemas"));
for (const [name, schema] of Object.entries(api.components.schemas)) {
  const card = element("article", "card");
  card.append(element("h3", "", name), element("p", "quiet", schema.description ?? ""), fields(schema));
  main.append(card);
}

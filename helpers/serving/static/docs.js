// The page at "/docs": the service's own openapi.json as text, and a way to send each request.
"use strict";

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function row(tag, cells) {
  return element("tr", {}, ...cells.map((cell) => element(tag, {}, cell)));
}

function kind(schema) {
  if (schema.enum) return schema.enum.join(" or ");
  if (schema.description) return `${schema.type}; ${schema.description}`;
  const is_limit = schema.type === "integer" ? Number.isSafeInteger(schema.minimum) : schema.minimum > -1e30; // else there is none
  if (is_limit) return `${schema.type}, ${schema.minimum} to ${schema.maximum}`;
  return schema.type ?? "";
}

function parameters(operation) {
  if (!operation.parameters) return [];
  const name = (p) => (p.in === "header" ? `${p.name}, a header` : p.name);
  const value = (p) => (p.description ?? kind(p.schema)) + (p.required ? "" : "; may be missing");
  const rows = operation.parameters.map((p) => row("td", [name(p), value(p), String(p.example ?? "")]));
  return [element("table", {}, row("th", ["parameter", "value", "example"]), ...rows)];
}

function responses(operation) {
  const rows = Object.entries(operation.responses).map(([code, response]) => row("td", [code, response.description]));
  return element("table", { className: "codes" }, row("th", ["code", "when"]), ...rows);
}

function quote(text) { // for a POSIX shell
  return `'${text.replaceAll("'", "'\\''")}'`;
}

// What an operation's example sends: [address, options of fetch, curl line]
function request(path, method, operation) {
  const url = new URL(path.slice(1) || "./", document.baseURI);
  for (const p of operation.parameters ?? []) if (p.example !== undefined) url.searchParams.set(p.name, p.example);
  const example = operation.requestBody?.content["application/json"].examples?.one.value;
  const body = example && JSON.stringify(example);
  const options = body ? { method, body, headers: { "Content-Type": "application/json" } } : { method };
  const key = service.needs_key && operation.security ? " -H 'X-API-Key: YOUR-KEY'" : "";
  const sent = body ? ` -H 'Content-Type: application/json' -d ${quote(body)}` : "";
  const curl = `curl${key}${sent} ${quote(url.href)}`;
  return [url, options, curl];
}

function operationElement(path, method, operation) {
  const [url, options, curl] = request(path, method.toUpperCase(), operation);
  const output = element("pre", { hidden: true });
  const send = element("button", { type: "button" }, "Send");
  send.addEventListener("click", async () => {
    output.hidden = false;
    try {
      const key = service.needs_key && operation.security ? prompt("API key") : null;
      const headers = { ...options.headers, ...(key ? { "X-API-Key": key } : {}) };
      const response = await fetch(url, { ...options, headers });
      output.textContent = `${response.status}\n${(await response.text()).slice(0, 4000)}`;
    } catch {
      output.textContent = "The service does not answer: is it still running?";
    }
  });
  return element("section", { className: "operation" },
    element("h2", {}, element("span", { className: "method" }, method.toUpperCase()), ` ${path}`),
    element("p", {}, operation.summary), ...parameters(operation), responses(operation),
    element("div", { className: "curl" }, element("pre", { tabIndex: 0 }, curl), send), output);
}

const service = JSON.parse(document.getElementById("service").textContent);

async function main() {
  const place = document.getElementById("operations");
  try {
    const document_ = await (await fetch(new URL("openapi.json", document.baseURI))).json();
    document.getElementById("description").textContent = document_.info.description.replaceAll("`", "");
    for (const [path, methods] of Object.entries(document_.paths)) {
      for (const [method, operation] of Object.entries(methods)) place.append(operationElement(path, method, operation));
    }
  } catch {
    place.textContent = "The service does not answer: is it still running?";
  }
}

main();

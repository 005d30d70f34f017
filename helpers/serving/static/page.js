// The page at "/": a control for each feature or other input of the signature; every change asks the live endpoint.
// Addresses are relative, so that the page also works behind a proxy that puts a path before it.
"use strict";

const service = JSON.parse(document.getElementById("service").textContent);
const form = document.getElementById("features");
const answer = document.querySelector(".answer");
const controls = new Map(); // feature name -> its input, and a function that gives its value as a request holds it
const endpoint = new URL("predict", document.baseURI);
const LONGEST_ADDRESS = 8000; // of a row; a longer one goes as a form, as servers and proxies take no address without end
let asked = 0; // requests sent so far: an answer to any but the last is out of date

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

class Unfinished extends Error {
  constructor(name) {
    super(`${name}: this is not a number yet`);
    this.fields = [name];
  }
}

// A yes or no is a switch; a category, and whatever may be missing without being a number, is a menu.
const YES_NO = /^(yes|no|y|n|true|false|t|f|on|off)$/i;

function isSwitch(feature) {
  return feature.kind === "binary" && !feature.missing && feature.values.every((value) => YES_NO.test(value));
}

function switchOf(name, checked) {
  const input = element("input", { type: "checkbox", checked, name });
  input.setAttribute("role", "switch");
  return input;
}

function addSwitch(feature) {
  const [off, on] = feature.values.length ? feature.values : ["0", "1"];
  const input = switchOf(feature.name, String(feature.example) === on);
  form.append(element("label", { className: "feature binary" }, element("span", { className: "name" }, feature.name), input));
  controls.set(feature.name, { input, value: () => (input.checked ? on : off) });
}

function addMenu(feature) {
  const values = feature.values.length ? [...feature.values, ...feature.pooled] : ["0", "1"];
  const menu = element("select", { name: feature.name }, ...values.map((value) => element("option", { value }, value)));
  if (feature.missing) menu.append(element("option", { value: "" }, "not known"));
  menu.value = String(feature.example);
  form.append(element("label", { className: "feature menu" }, element("span", { className: "name" }, feature.name), menu));
  controls.set(feature.name, { input: menu, value: () => menu.value });
}

// A number, with a slider where it is known how far such numbers go. `needed`: whether nothing is no value of it.
function numberControl({ name, example, ends, whole, usual, missing, needed }) {
  const number = element("input", { type: "number", step: "any", value: example, name });
  if (missing) number.placeholder = "not known";
  const typed = () => { // where it is no number its value is "", as if it were not known
    if (number.validity.badInput || (needed && number.value === "")) throw new Unfinished(name);
    return number.value;
  };
  const control = { input: number, parts: [number], hint: "", value: typed, kind: "real" };
  if (!ends) return control;
  const [low, high] = ends;
  const step = whole ? 1 : (high - low) / 200 || 1;
  const range = element("input", { type: "range", min: low, max: high, step, value: example });
  range.setAttribute("aria-label", `${name}, slider`);
  const largest = Math.max(Math.abs(low), Math.abs(high));
  const digits = Math.min(17, Math.max(6, 2 + Math.ceil(Math.log10(largest / step)))); // so many tell two steps apart
  range.addEventListener("input", () => { number.value = Number(range.value).toPrecision(digits) * 1; });
  number.addEventListener("input", () => { if (number.value !== "") range.value = number.value; });
  return { ...control, parts: [range, number], hint: `${usual ? "usually " : ""}${low} to ${high}` };
}

function addControl(name, { input, parts, hint, value, kind = "wide", tag = "div" }) {
  input.setAttribute("aria-label", name);
  form.append(element(tag, { className: `feature ${kind}` },
    element("span", { className: "name" }, name), element("span", { className: "usual" }, hint), ...parts));
  controls.set(name, { input, value });
}

function add(feature) {
  if (feature.kind === "real") addControl(feature.name, numberControl(feature));
  else if (isSwitch(feature)) addSwitch(feature);
  else addMenu(feature);
}

function addKey() {
  const input = element("input", { type: "password", id: "key" });
  form.prepend(element("label", { className: "feature real" }, element("span", { className: "name" }, "API key"), input));
}

// What is asked now: [address, options of fetch, what curl is given beside the address]; no options while a picture is lacking.
function currentRequest() {
  const url = new URL(endpoint);
  if (!service.inputs.length) {
    const row = new URLSearchParams();
    for (const [name, control] of controls) row.set(name, control.value());
    if (String(row).length > LONGEST_ADDRESS) return [url, { method: "POST", body: row }, ` -d ${quote(String(row))}`];
    url.search = row;
    return [url, {}, ""];
  }
  const values = [...controls].map(([name, control]) => [name, control.value()]);
  const lacking = values.some(([, value]) => value === null);
  if (lacking || values.some(([, value]) => value instanceof File)) {
    const body = new FormData();
    const fields = [];
    for (const [name, value] of values) {
      const file = value instanceof File ? value.name : value === null ? "picture.jpg" : "";
      const part = file || typeof value === "string" ? value : JSON.stringify(value);
      body.append(name, part);
      fields.push(file ? ` -F ${quote(`${name}=@${fileName(file)}`)}` : ` --form-string ${quote(`${name}=${part}`)}`);
    }
    return [url, lacking ? null : { method: "POST", body }, fields.join("")];
  }
  const body = JSON.stringify(Object.fromEntries(values));
  const headers = { "Content-Type": "application/json" };
  return [url, { method: "POST", body, headers }, ` -H ${quote("Content-Type: application/json")} -d ${quote(body)}`];
}

function fileName(name) { // as curl wants one in which its own signs stand
  return /[;,"\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name;
}

function quote(text) { // for a POSIX shell
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function show(failed, content, status, badFields = []) {
  answer.classList.toggle("failed", failed);
  document.getElementById("probability").textContent = content === null ? "–" : headline(content);
  const hasBar = service.outputs.length === 1 && service.outputs[0].kind === "probability";
  document.getElementById("bar").parentElement.hidden = !hasBar;
  document.getElementById("bar").style.width = content === null || !hasBar ? "0" : `${100 * content.probability}%`;
  document.getElementById("details").replaceChildren(...(content === null ? [] : details(content)));
  document.getElementById("status").textContent = status;
  for (const [name, { input }] of controls) {
    input.closest(".feature").classList.toggle("bad", badFields.includes(name));
    input.setAttribute("aria-invalid", badFields.includes(name));
  }
}

async function ask() {
  const mine = ++asked;
  let request;
  try {
    request = currentRequest();
  } catch (error) {
    show(true, null, error.fields ? error.message : "this is not JSON yet", error.fields);
    return;
  }
  const [url, options, sent] = request;
  const key = document.getElementById("key")?.value;
  const header = service.needs_key ? ` -H ${quote("X-API-Key: YOUR-KEY")}` : "";
  document.getElementById("curl").textContent = `curl${header}${sent} ${quote(url.href)}`;
  if (options === null) {
    show(false, null, "choose a picture");
    return;
  }
  const started = performance.now();
  try {
    const headers = { ...options.headers, ...(key ? { "X-API-Key": key } : {}) };
    const response = await fetch(url, { ...options, headers, cache: "no-store" });
    const content = await response.json();
    if (mine !== asked) return;
    const took = (performance.now() - started).toFixed(0);
    if (content.success) {
      const notes = Object.entries(content.notes ?? {}).map(([name, note]) => `${name}: ${note}`);
      show(false, content, [`answered in ${took} ms`, ...notes].join(". "));
    }
    else if (content.fields) {
      const named = Object.entries(content.fields).map(([name, problem]) => `${name}: ${problem}`).join(", ");
      show(true, null, named, Object.keys(content.fields));
    } else if (response.status === 401) {
      show(true, null, key ? "This is not the service's API key." : "Type the service's API key below.");
    } else show(true, null, content.error);
  } catch {
    if (mine === asked) show(true, null, "The service does not answer: is it still running? Change a value to ask again.");
  }
}

async function copy() {
  const line = document.getElementById("curl");
  try {
    await navigator.clipboard.writeText(line.textContent);
    document.getElementById("copy").textContent = "Copied";
  } catch { // no clipboard without https or inside a frame: select the line, so that a key press copies it
    getSelection().selectAllChildren(line);
  }
  setTimeout(() => { document.getElementById("copy").textContent = "Copy"; }, 1500);
}

const words = service.features.filter(isSwitch).flatMap((feature) => feature.name.split(/[\s-]+/));
form.style.setProperty("--longest-word", Math.max(0, ...words.map((word) => word.length))); // no switch breaks it
for (const feature of service.features) add(feature);
for (const input of service.inputs) addControl(input.name, inputControl(input));
if (service.needs_key) addKey();
form.addEventListener("input", ask);
form.addEventListener("submit", (event) => event.preventDefault());
document.getElementById("copy").addEventListener("click", copy);
ask();

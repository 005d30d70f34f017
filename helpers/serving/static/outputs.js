// What an answer looks like, by the kind of the model's output: a probability and its bar, bars of classes, a number,
// an array. `headline(content)` is the large text, `details(content)` the elements below it.
"use strict";

const FEW = 4; // numbers that the large text holds, in short; the details hold all of them, in full

function shown(value) {
  if (!Array.isArray(value)) return String(value);
  if (value.length <= FEW && !value.some(Array.isArray)) {
    return value.map((number) => Number(number.toPrecision(3))).join(", ");
  }
  const shape = [];
  for (let part = value; Array.isArray(part); part = part[0]) shape.push(part.length);
  return `${shape.join(" x ")} numbers`;
}

function headline(content) {
  if (content.probability !== undefined && content.probabilities === undefined) return content.probability.toFixed(4);
  if (content.predictions) return content.predictions[0].label;
  if (content.outputs) return Object.entries(content.outputs).map(([name, each]) => `${name}: ${headline(each)}`).join(", ");
  const text = shown(content.prediction);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

function bars(pairs) {
  const made = document.createElement("div");
  made.className = "classes";
  for (const [label, probability] of pairs) {
    const [name, bar, fill, number] = ["span", "div", "div", "span"].map((tag) => document.createElement(tag));
    name.textContent = label;
    bar.className = "bar";
    fill.style.width = `${100 * probability}%`;
    number.textContent = probability.toFixed(4);
    bar.append(fill);
    made.append(name, bar, number);
  }
  return made;
}

// The details of one output of several below its name; nothing where all is said in the large text.
function named(name, parts) {
  if (!parts.length) return [];
  const title = document.createElement("p");
  title.className = "output";
  title.textContent = name;
  return [title, ...parts];
}

function details(content) {
  if (content.predictions) return [bars(content.predictions.map((each) => [each.label, each.probability]))];
  if (content.probabilities) {
    const best = Object.entries(content.probabilities).sort((a, b) => b[1] - a[1]);
    return [bars(best.slice(0, 10))];
  }
  if (content.outputs) return Object.entries(content.outputs).flatMap(([name, each]) => named(name, details(each)));
  if (Array.isArray(content.prediction)) {
    const text = document.createElement("pre");
    text.textContent = JSON.stringify(content.prediction, null, 1).slice(0, 4000);
    return [text];
  }
  return [];
}

// SPDX-License-Identifier: Apache-2.0
// Shows the OpenAPI document as a page. Everything is set as text, never as markup.
"use strict";

const element = (name, text, ...children) => {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
};
const anchor = (text) => text.replace(/[^A-Za-z0-9]+/g, "-");
const nameOf = (ref) => ref.split("/").pop();

// The type of a schema in a few words; the names of other schemas are links.
const typeOf = (schema) => {
  if (schema.$ref) {
    const link = element("a", nameOf(schema.$ref));
    link.href = "#schema-" + nameOf(schema.$ref);
    return [link];
  }
  if (schema.anyOf) return schema.anyOf.flatMap((one, i) => (i ? [" or ", ...typeOf(one)] : typeOf(one)));
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(" | ")];
  if (schema.type === "array") return ["list of ", ...typeOf(schema.items || {})];
  return [[].concat(schema.type || "any").join(" or ") + (schema.format ? ` (${schema.format})` : "")];
};

const row = (name, needed, types, doc) => {
  const label = element("code", name);
  if (needed) label.className = "needed";
  return element("tr", "", element("td", "", label), element("td", "", ...types), element("td", doc));
};

const fields = (schema) => {
  const rows = Object.entries(schema.properties || {}).map(([name, field]) =>
    row(name, (schema.required || []).includes(name), typeOf(field), field.description));
  return element("table", "", ...rows);
};

const call = (method, path, operation, shared) => {
  const summary = element("summary", "", element("span", method.toUpperCase()), element("code", path), " " + operation.summary);
  summary.firstChild.className = "method";
  const made = element("details", "", summary);
  const parameters = [...shared, ...(operation.parameters || [])];
  const rows = parameters.map((p) => row(p.name, p.required, [p.in, ", ", ...typeOf(p.schema)], p.description));
  if (rows.length) made.append(element("table", "", ...rows));
  const body = operation.requestBody && Object.entries(operation.requestBody.content)[0];
  if (body) made.append(element("p", "Body, " + body[0] + ": ", ...typeOf(body[1].schema)));
  for (const [status, reply] of Object.entries(operation.responses)) {
    const content = Object.values(reply.content || {})[0];
    made.append(element("p", `${status}: ${reply.description} `, ...(content ? typeOf(content.schema) : [])));
  }
  return made;
};

const show = (api) => {
  const sections = new Map();
  for (const [path, item] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      if (method === "parameters") continue;
      const tag = operation.tags[0];
      if (!sections.has(tag)) sections.set(tag, []);
      sections.get(tag).push(call(method, path, operation, item.parameters || []));
    }
  }
  const main = [element("h1", `${api.info.title} ${api.info.version}`), element("p", api.info.description)];
  const links = [];
  const section = (title, id, content) => {
    const heading = element("h2", title);
    heading.id = id;
    main.push(heading, ...content);
    const link = element("a", title);
    link.href = "#" + id;
    links.push(link);
  };
  for (const [tag, calls] of [...sections].sort()) section(tag, "calls-" + anchor(tag), calls);
  const schemas = Object.entries(api.components.schemas).map(([name, schema]) => {
    const made = element("details", "", element("summary", name), element("p", schema.description), fields(schema));
    made.id = "schema-" + name;
    return made;
  });
  section("schemas", "schemas", schemas);
  document.getElementById("nav").replaceChildren(...links);
  document.getElementById("main").replaceChildren(...main);
};

const openTarget = () => {
  const target = document.getElementById(location.hash.slice(1));
  if (target && target.tagName === "DETAILS") target.open = true;
};
addEventListener("hashchange", openTarget);

fetch("openapi.json")
  .then((reply) => reply.json())
  .then((api) => { show(api); openTarget(); })
  .catch((error) => { document.getElementById("main").textContent = "The API's description cannot be read: " + error; });

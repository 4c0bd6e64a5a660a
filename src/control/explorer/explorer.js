// Draws the API's document and sends what its reader asks for. All text goes into the page as text.

const byId = (id) => document.getElementById(id);
const token = byId('token');

/** An element with attributes (functions are listeners) and children, which are nodes or texts. */
function h(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (typeof value === 'function') element.addEventListener(key, value);
    else if (value === true) element.setAttribute(key, '');
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

let saying;
function say(text) {
  byId('say').textContent = text;
  clearTimeout(saying);
  saying = setTimeout(() => { byId('say').textContent = ''; }, 4000);
}

/** Text with `code` in it. */
const inline = (text) => text.split('`').map((part, nth) => (nth % 2 ? h('code', null, part) : part));

/** A paragraph, a list or a table. */
function blockOf(text) {
  if (text.startsWith('- ')) return h('ul', null, text.slice(2).split('\n- ').map((item) => h('li', null, inline(item))));
  if (!text.startsWith('|')) return h('p', null, inline(text));
  const [head, , ...rows] = text.split('\n').map((line) => line.slice(1, -1).split('|').map((cell) => inline(cell.trim())));
  return h('table', null,
    h('thead', null, h('tr', null, head.map((cell) => h('th', { scope: 'col' }, cell)))),
    h('tbody', null, rows.map((cells) => h('tr', null, cells.map((cell) => h('td', null, cell))))));
}

/** The few forms that descriptions are written in; every second part stands between fences. */
function prose(text) {
  const parts = (text ?? '').split(/```\w*\n?/).map((part, nth) => (nth % 2
    ? [block(part.trim(), 'Sample')]
    : part.split(/\n\n+/).map((it) => it.trim()).filter(Boolean).map(blockOf)));
  return h('div', { class: 'prose' }, parts.flat());
}

const nameOf = (reference) => reference.split('/').pop();

/** What a schema describes, in a few words. */
function typeOf(schema) {
  if (!schema) return 'bytes';
  if (schema.$ref) return h('a', { href: `#schema-${nameOf(schema.$ref)}` }, nameOf(schema.$ref));
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return h('span', null, choices.flatMap((choice, nth) => [nth ? ' or ' : '', typeOf(choice)]));
  if (schema.enum) return schema.enum.join(' | ');
  if ('const' in schema) return JSON.stringify(schema.const);
  const types = [schema.type ?? 'anything'].flat();
  const bounds = [
    schema.format === 'date-time' && 'date-time',
    schema.minimum != null && `from ${schema.minimum}`,
    schema.maximum != null && `to ${schema.maximum}`,
    schema.minLength != null && `${schema.minLength} to ${schema.maxLength} characters`,
    schema.maxItems != null && `${schema.maxItems} at most`,
    schema.pattern && schema.pattern.length < 40 && schema.pattern,
  ].filter(Boolean).map((bound) => `, ${bound}`).join('');
  if (types.includes('array')) return h('span', null, 'list of ', typeOf(schema.items), types.includes('null') ? ' or null' : '', bounds);
  return types.join(' or ') + bounds;
}

/** The fields of an object, with those of what it is put together from. */
function fieldsOf(document_, schema) {
  if (schema.$ref) return fieldsOf(document_, document_.components.schemas[nameOf(schema.$ref)]);
  if (schema.allOf) return schema.allOf.flatMap((part) => fieldsOf(document_, part));
  const required = schema.required ?? [];
  return Object.entries(schema.properties ?? {}).map(([name, field]) => ({ name, field, required: required.includes(name) }));
}

/** An example of what a schema describes, put together from those of its fields. */
function exampleOf(document_, schema) {
  if (!schema) return undefined;
  if ('example' in schema) return schema.example;
  if (schema.examples) return schema.examples[0];
  if (schema.$ref) return exampleOf(document_, document_.components.schemas[nameOf(schema.$ref)]);
  if (schema.oneOf) return exampleOf(document_, schema.oneOf.find((choice) => choice.type !== 'null'));
  if (schema.enum) return schema.enum[0];
  if ('const' in schema) return schema.const;
  if ([schema.type].flat().includes('array')) return [exampleOf(document_, schema.items)];
  const fields = fieldsOf(document_, schema);
  if (fields.length || schema.type === 'object') {
    return Object.fromEntries(fields.map(({ name, field }) => [name, exampleOf(document_, field)]));
  }
  return undefined;
}

const pretty = (value) => (typeof value === 'string' ? value : JSON.stringify(value, null, 2));
const block = (text, label) => h('pre', { tabindex: 0, role: 'group', 'aria-label': label }, text);

function fieldList(document_, schema) {
  return h('dl', null, fieldsOf(document_, schema).map(({ name, field, required }) => h('div', null,
    h('dt', null, h('code', null, name), h('span', { class: 'type' }, typeOf(field), required ? '' : ', may be missing')),
    field.description && h('dd', null, inline(field.description)))));
}

function parameterList(parameters) {
  return h('dl', null, parameters.map((parameter) => h('div', null,
    h('dt', null, h('code', null, parameter.name),
      h('span', { class: 'type' }, `${parameter.in}, `, typeOf(parameter.schema), parameter.required ? '' : ', may be missing')),
    h('dd', null, inline(parameter.description ?? '')))));
}

/** One answer: what it means, the fields of its head, an example. */
function answerOf(document_, status, response) {
  const answer = response.$ref ? document_.components.responses[nameOf(response.$ref)] : response;
  const [kind, content] = Object.entries(answer.content ?? {})[0] ?? [];
  const examples = content?.examples ? Object.values(content.examples).map((it) => it.value) : [exampleOf(document_, content?.schema)];
  const headers = Object.entries(answer.headers ?? {}).map(([name, header]) => [name, header.$ref ? document_.components.headers[nameOf(header.$ref)] : header]);
  return h('details', null,
    h('summary', null, h('span', { class: status >= 400 ? 'status bad' : 'status' }, status), ' ',
      status >= 400 ? Object.keys(content?.examples ?? {}).join(', ') : answer.description),
    status >= 400 && prose(answer.description),
    kind && h('p', null, h('code', null, kind), ' ', typeOf(content.schema)),
    headers.length > 0 && h('dl', null, headers.map(([name, header]) => h('div', null,
      h('dt', null, h('code', null, name)), h('dd', null, inline(header.description ?? ''))))),
    examples.filter((example) => example !== undefined && kind !== 'text/event-stream').slice(0, 2)
      .map((example) => block(pretty(example), `Example of an answer with status ${status}`)));
}

/** Whether an operation may be shown such a secret: a key is for creating mailboxes, a token for what is in one. */
function takes(operation, kind) {
  return Boolean(operation.security?.some((way) => kind in way));
}

/** The request that the fields ask for. */
function requestOf(path, method, operation, inputs, body) {
  const query = new URLSearchParams();
  const headers = new Headers();
  let target = path;
  for (const [parameter, input] of inputs) {
    if (input.value === '') continue;
    if (parameter.in === 'path') target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    if (parameter.in === 'query') query.append(parameter.name, input.value);
    if (parameter.in === 'header') headers.append(parameter.name, input.value);
  }
  const secret = token.value.trim();
  const kind = secret.startsWith('mfk_') ? 'key' : 'token';
  if (secret && takes(operation, kind)) headers.append('Authorization', `Bearer ${secret}`);
  const sent = body?.value.trim() || undefined;
  if (sent) headers.append('Content-Type', 'application/json');
  const url = target + (`${query}` && `?${query}`);
  return { url, init: { method: method.toUpperCase(), headers, body: sent, cache: 'no-store', credentials: 'omit' } };
}

/** The same as a command. The token does not stand in it. */
function commandOf({ url, init }) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const words = ['curl'];
  if (init.method !== 'GET') words.push('-X', init.method);
  for (const [name, value] of init.headers) {
    words.push('-H', name === 'authorization' ? '"Authorization: Bearer $TOKEN"' : quoted(`${name}: ${value}`));
  }
  if (init.body) words.push('-d', quoted(init.body));
  return [...words, quoted(location.origin + url)].join(' ');
}

/** Sends a request and shows what comes, piece by piece if it comes so. */
async function send(document_, operation, request, answer, stop) {
  const shown = h('pre', { tabindex: 0, role: 'group', 'aria-label': 'Answer' });
  const status = h('p', { class: 'status' }, 'Sent; waiting for the answer');
  const ending = new AbortController();
  stop.hidden = false;
  stop.onclick = () => ending.abort();
  answer.replaceChildren(h('h4', null, 'As a command'), block(commandOf(request), 'Command'), h('h4', null, 'Answer'), status, shown);
  try {
    const response = await fetch(request.url, { ...request.init, signal: ending.signal });
    status.textContent = `${response.status} ${response.statusText}`;
    status.classList.toggle('bad', !response.ok);
    say(`The answer is ${response.status} ${response.statusText}`);
    const head = [...response.headers].map(([name, value]) => `${name}: ${value}`).join('\n');
    status.after(h('details', null, h('summary', null, 'Fields of the head'), block(head, 'Fields of the head')));
    const kind = response.headers.get('Content-Type') ?? '';
    if (/octet-stream/.test(kind)) {
      shown.textContent = `${(await response.arrayBuffer()).byteLength} bytes`;
    } else if (/event-stream/.test(kind)) {
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) shown.append(piece.value);
    } else {
      const text = await response.text();
      shown.textContent = /json/.test(kind) ? pretty(JSON.parse(text)) : text;
      const gives = ['createMailbox', 'recoverMailbox'].includes(operation.operationId);
      const made = gives && response.ok && JSON.parse(text).token;
      if (made) token.value = made;
    }
  } catch (why) {
    shown.append(why.name === 'AbortError' ? '' : `It did not work: ${why.message}`);
  }
  stop.hidden = true;
}

function tryIt(document_, path, method, operation) {
  const inputs = (operation.parameters ?? []).map((parameter) => [parameter, h('input', {
    value: parameter.required ? parameter.example : '',
    placeholder: parameter.required ? null : parameter.example,
    required: parameter.required, spellcheck: 'false', autocomplete: 'off',
  })]);
  const schema = operation.requestBody?.content['application/json'].schema;
  const body = schema && h('textarea', { rows: 5, spellcheck: 'false' });
  // What need not be there is left to whoever tries: an example's name is somebody's soon.
  const needed = body && fieldsOf(document_, schema).filter(({ required }) => required);
  if (body) body.value = pretty(Object.fromEntries(needed.map(({ name, field }) => [name, exampleOf(document_, field)])));
  const answer = h('div', { class: 'answer' });
  const stop = h('button', { type: 'button', class: 'second', hidden: true }, 'Stop');
  const form = h('form', { class: 'try', submit: (event) => {
    event.preventDefault();
    send(document_, operation, requestOf(path, method, operation, inputs, body), answer, stop);
  } },
  inputs.length > 0 && h('div', { class: 'fields' }, inputs.map(([parameter, input]) => h('label', null, parameter.name, input))),
  body && h('div', { class: 'body' }, h('label', null, 'Body, as JSON', body)),
  h('div', { class: 'row' }, h('button', { 'aria-label': `Send: ${operation.summary}` }, 'Send'), stop));
  return h('details', null, h('summary', null, 'Try it'), form, answer);
}

function operationOf(document_, path, method, operation) {
  const id = operation.operationId;
  const schema = operation.requestBody?.content['application/json'].schema;
  return h('article', { id, 'aria-labelledby': `${id}-title` },
    h('h3', { id: `${id}-title` }, operation.summary),
    h('p', { class: 'where' }, h('span', { class: `method ${method}` }, method), h('span', { class: 'path' }, path),
      takes(operation, 'token') && h('span', { class: 'lock' }, 'needs a token')),
    prose(operation.description),
    operation.parameters && h('h4', null, 'Parameters'),
    operation.parameters && parameterList(operation.parameters),
    schema && h('h4', null, operation.requestBody.required ? 'Body' : 'Body, which may be missing'),
    schema && fieldList(document_, schema),
    schema && block(pretty(exampleOf(document_, schema)), 'Example of a body'),
    h('h4', null, 'Answers'),
    h('div', null, Object.entries(operation.responses).map(([status, response]) => answerOf(document_, status, response))),
    tryIt(document_, path, method, operation));
}

function draw(document_) {
  const all = Object.entries(document_.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })));
  const order = ['post', 'get', 'patch', 'delete'];
  all.sort((one, other) => order.indexOf(one.method) - order.indexOf(other.method));
  byId('about').append(prose(document_.info.description),
    h('p', null, `Version ${document_.info.version}. `, h('a', { href: '/api/v1/openapi.json' }, 'The document itself'), ' is OpenAPI 3.1.'));
  for (const tag of document_.tags) {
    const own = all.filter(({ operation }) => operation.tags?.includes(tag.name));
    byId('operations').append(h('h2', null, tag.description), ...own.map((it) => operationOf(document_, it.path, it.method, it.operation)));
    byId('contents').append(h('h2', null, tag.name), h('ul', null, own.map(({ method, operation }) => h('li', null,
      h('a', { href: `#${operation.operationId}` }, h('span', { class: `method ${method}` }, method), operation.summary)))));
  }
  byId('schemas').append(h('h2', { id: 'schemas-title' }, 'Shapes'), ...Object.entries(document_.components.schemas).map(([name, schema]) =>
    h('div', { class: 'schema', id: `schema-${name}` }, h('h3', null, name), prose(schema.description),
      schema.enum && h('p', null, h('span', { class: 'type' }, typeOf(schema))),
      schema.oneOf ? schema.oneOf.map((choice) => h('div', null, h('h4', null, choice.title), fieldList(document_, choice))) : fieldList(document_, schema))));
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

byId('token-form').addEventListener('submit', (event) => event.preventDefault());
try {
  draw(await (await fetch('/api/v1/openapi.json')).json());
} catch (why) {
  byId('operations').append(h('p', { class: 'missing' }, `The document could not be read: ${why.message}`));
}

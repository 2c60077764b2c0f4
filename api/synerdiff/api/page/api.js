// Calls of the gateway. fetch instead of EventSource, which cannot send a key.
let unauthorized = () => {};

export function onUnauthorized(action) {
  unauthorized = action;
}

async function request(path, options = {}) {
  const key = sessionStorage.getItem("key");
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  if (options.body) headers["Content-Type"] = "application/json";
  const reply = await fetch(path, { ...options, headers });
  if (reply.ok) return reply;
  if (reply.status === 401) unauthorized();
  const { error } = await reply.json();
  throw new Error(error.errors?.length > 1 ? error.errors.map((one) => one.message).join("; ") : error.message);
}

export async function call(path, options) {
  return (await request(path, options)).json();
}

// A job's server-sent events past the one with this id, to the end of the stream.
export async function* events(path, after) {
  const headers = after ? { "Last-Event-ID": after } : {};
  const reader = (await request(path, { headers })).body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value.replaceAll("\r", "");
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const line = part.split("\n").find((one) => one.startsWith("data:"));
      if (line) yield JSON.parse(line.slice(5));
    }
  }
}

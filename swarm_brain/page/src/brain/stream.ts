// Server-sent events out of a fetch.

import { EventSourceParserStream } from "eventsource-parser/stream";

/** The events of a response's body, parsed, as they come. */
export async function* eventsOf<T>(body: ReadableStream<Uint8Array>): AsyncGenerator<T> {
  const text = body.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>);
  const reader = text.pipeThrough(new EventSourceParserStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield JSON.parse(value.data) as T;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

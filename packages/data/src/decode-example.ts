import { Worker } from 'node:worker_threads';
import { InvalidFileError } from '@mezzotint/core';
import type { Bitmap } from './bitmap.js';
import { type Example, exampleBytes, pathOf } from './dataset.js';
import { useImage, withChannels } from './decode-image.js';
import { type ImageSize, resize } from './resize.js';

/** A picture, and what becomes of it before it is cut. */
export interface DecodeRequest {
  readonly name: string;
  readonly source: Example['source'];
  readonly channels: 1 | 3;
  /** The whole picture is brought to this size, with antialiasing. */
  readonly size: ImageSize;
}

/** Reads, decodes and resizes one picture. */
export async function decodeExample({ name, source, channels, size }: DecodeRequest): Promise<Bitmap> {
  const bytes = await exampleBytes({ source });
  return useImage(bytes, pathOf({ name, source }), {}, (image) => {
    // Colour becomes gray before it is resized, as in Pillow; gray is repeated after, which is the same and less.
    const narrow = channels === 1 ? withChannels(image, 1) : image;
    const same = image.height === size.height && image.width === size.width;
    return withChannels(same ? narrow : resize(narrow, size), channels);
  });
}

/** What decodes pictures; `close` ends its threads. */
export interface Decoder {
  decode(request: DecodeRequest): Promise<Bitmap>;
  close(): Promise<void>;
}

/** Decodes in threads of its own, so that a step of training and the next batch are made at the same time. */
export function decodingThreads(count: number): Decoder {
  if (count === 0) return { decode: decodeExample, close: async () => undefined };
  const threads = Array.from({ length: count }, () => new DecodingThread());
  let next = 0;
  return {
    decode: (request) => threads[next++ % count]!.decode(request),
    close: async () => void (await Promise.all(threads.map((thread) => thread.close()))),
  };
}

class DecodingThread {
  readonly #worker = new Worker(new URL('./decode-worker.js', import.meta.url));
  readonly #pending = new Map<number, { resolve(image: Bitmap): void; reject(error: Error): void; path: string }>();
  #ended: Error | undefined;
  #count = 0;

  constructor() {
    this.#worker.unref();
    this.#worker.on('message', (answer: { id: number; image?: Bitmap; error?: string }) => {
      const waiting = this.#pending.get(answer.id);
      this.#pending.delete(answer.id);
      if (this.#pending.size === 0) this.#worker.unref();
      if (answer.image !== undefined) waiting?.resolve(answer.image);
      else if (answer.error !== undefined)
        waiting?.reject(new InvalidFileError(waiting.path, unprefixed(answer.error, waiting.path)));
    });
    this.#worker.on('error', (error) => this.#end(error));
    this.#worker.on('exit', () => this.#end(new Error('the decoding thread has ended')));
  }

  decode(request: DecodeRequest): Promise<Bitmap> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const id = this.#count++;
    return new Promise((resolve, reject) => {
      this.#worker.ref();
      this.#pending.set(id, { resolve, reject, path: request.source.path });
      this.#worker.postMessage({ id, request });
    });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}

/** The problem of an error that was made in a thread, without the path that the new one says again. */
function unprefixed(message: string, path: string): string {
  return message.startsWith(`${path}: `) ? message.slice(path.length + 2) : message;
}

import { useWasm } from '@mezzotint/backend/wasm';
import { openPipeline, type Pipeline } from '@mezzotint/pipelines';
import type { FromWorker, ToWorker } from './messages.js';

/** The page's side of this worker. */
const page = globalThis as unknown as {
  readonly location: { readonly href: string };
  postMessage(message: FromWorker): void;
  onmessage: (event: { readonly data: ToWorker }) => void;
};

let engine: Promise<string> | undefined;
let pipeline: Pipeline | undefined;
let running = new AbortController();
/** Jobs are done one after the other. */
let last: Promise<void> = Promise.resolve();

page.onmessage = ({ data: message }) => {
  if (message.kind !== 'make') running.abort();
  if (message.kind === 'cancel') return;
  last = last.then(async () => {
    try {
      await (message.kind === 'open' ? open(message.files) : make(message));
    } catch (error) {
      const stopped = running.signal.aborted && error === running.signal.reason;
      page.postMessage(stopped ? { kind: 'cancelled' } : { kind: 'failed', message: messageOf(error) });
    }
  });
};

/** Opens a model in the place of the one before. */
async function open(files: ReadonlyMap<string, Blob>): Promise<void> {
  engine ??= start();
  const name = await engine;
  const opened = await openPipeline(files);
  pipeline?.dispose();
  pipeline = opened;
  const { description, notes, takes, defaults, classes } = opened;
  page.postMessage({ kind: 'opened', model: { description, notes, takes, defaults, classes, engine: name } });
}

/** Starts WebAssembly, whose files the bundler puts beside this script. */
async function start(): Promise<string> {
  const { device } = await useWasm({ folder: new URL('./', page.location.href).href });
  return `WebAssembly, ${device}`;
}

async function make({ request, previews }: Extract<ToWorker, { kind: 'make' }>): Promise<void> {
  running = new AbortController();
  const { signal } = running;
  const began = performance.now();
  const hooks = {
    signal,
    onProgress: (progress: Extract<FromWorker, { kind: 'progress' }>['progress']) =>
      page.postMessage({ kind: 'progress', progress }),
    onNote: (line: string) => page.postMessage({ kind: 'note', line }),
  };
  let shown = Number.NEGATIVE_INFINITY;
  let cost = 0;
  for await (const { images, preview } of pipeline!.steps(request, hooks)) {
    if (images !== null) page.postMessage({ kind: 'pictures', pictures: images });
    else if (previews && performance.now() - shown > PREVIEW_SHARE * cost) {
      const from = performance.now();
      page.postMessage({ kind: 'preview', pictures: await preview() });
      shown = performance.now();
      cost = shown - from;
    }
    await eventLoop();
    signal.throwIfAborted();
  }
  page.postMessage({ kind: 'made', seconds: (performance.now() - began) / 1000 });
}

/** Previews take at most a tenth of the time. */
const PREVIEW_SHARE = 9;

/** Lets messages come in: steps on WebAssembly wait for nothing, and a cancel would wait for the last. */
function eventLoop(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

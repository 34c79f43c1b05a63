import type { Bitmap } from '@mezzotint/data/pixels';
import type { GeneratedImage, Progress, Request } from '@mezzotint/pipelines';
import type { FromWorker, OpenedModel, ToWorker } from './messages.js';

const the = <E extends HTMLElement>(id: string): E => document.getElementById(id) as E;
const form = the<HTMLFormElement>('request');
const [make, cancel] = [the<HTMLButtonElement>('make'), the<HTMLButtonElement>('cancel')];
const worker = new Worker('worker.js', { type: 'module' });
const send = (message: ToWorker) => worker.postMessage(message);

let model: OpenedModel | undefined;
/** The request that runs, and when its steps began. */
let asked: { readonly request: Request; sampling?: { readonly from: number; readonly done: number } } | undefined;

worker.onmessage = ({ data }: MessageEvent<FromWorker>) => take(data);
worker.onerror = (event) => {
  fail(`The worker has ended: ${event.message || 'its script did not load'}. Reload the page.`);
};

form.onsubmit = (event) => {
  event.preventDefault();
  if (model === undefined || asked !== undefined) return;
  const request = requestOf(new FormData(form), model);
  asked = { request };
  show(the('error'), false);
  the('notes').replaceChildren();
  the('preview').replaceChildren();
  busy(true, 'Starting…');
  send({ kind: 'make', request, previews: the<HTMLInputElement>('previews').checked });
};
cancel.onclick = () => {
  say('Stopping after this step…');
  send({ kind: 'cancel' });
};
the<HTMLInputElement>('folder').onchange = ({ target }) => {
  const files = [...((target as HTMLInputElement).files ?? [])];
  if (files.length === 0) return;
  open(new Map(files.map((file) => [file.webkitRelativePath || file.name, file])));
};

await openServed().catch((error: unknown) => fail(error instanceof Error ? error.message : String(error)));

/** Opens the model that the server has beside the page, if it has one. */
async function openServed(): Promise<void> {
  const folder = new URL('model/', document.baseURI);
  const listed = await fetch(new URL('files.json', folder));
  if (!listed.ok) {
    the('model').textContent = 'No model is served here: choose the folder of one.';
    return;
  }
  const { name, files } = (await listed.json()) as { name: string; files: { path: string; bytes: number }[] };
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  let loaded = 0;
  const blobs = await Promise.all(
    files.map(async ({ path, bytes }): Promise<[string, Blob]> => {
      const address = new URL(path.split('/').map(encodeURIComponent).join('/'), folder);
      const response = await fetch(address);
      if (!response.ok) throw new Error(`${path} of the model: the server answers ${response.status}`);
      const blob = await response.blob();
      loaded += bytes;
      the('model').textContent = `Reading ${name}: ${megabytes(loaded)} of ${megabytes(total)}`;
      return [`${name}/${path}`, blob];
    }),
  );
  open(new Map(blobs));
}

/** Opens the files of a folder, whose paths begin with its name. */
function open(files: ReadonlyMap<string, Blob>): void {
  const [path = ''] = files.keys();
  const bytes = [...files.values()].reduce((sum, { size }) => sum + size, 0);
  the('model').textContent = `Opening ${path.split('/')[0]}, ${megabytes(bytes)}…`;
  model = undefined;
  make.disabled = true;
  show(the('error'), false);
  send({ kind: 'open', files });
}

function take(message: FromWorker): void {
  switch (message.kind) {
    case 'opened':
      opened(message.model);
      break;
    case 'progress':
      progressed(message.progress);
      break;
    case 'note':
      note(message.line);
      break;
    case 'preview':
      the('preview').replaceChildren(...message.pictures.map(canvasOf));
      break;
    case 'pictures':
      the('preview').replaceChildren();
      the('pictures').prepend(...message.pictures.map(figureOf));
      break;
    case 'made':
      say(`Made in ${message.seconds.toFixed(1)} s`);
      busy(false);
      break;
    case 'cancelled':
      say('Cancelled');
      busy(false);
      break;
    case 'failed':
      fail(message.message);
  }
}

/** Shows the settings that the model takes, with its makers' values where nothing is typed. */
function opened(given: OpenedModel): void {
  model = given;
  the('model').textContent = `${given.description} · ${given.engine}`;
  for (const label of form.querySelectorAll<HTMLElement>('[data-key]')) {
    const key = label.dataset.key as keyof Request;
    const input = label.querySelector('input')!;
    show(label, ['steps', 'seed', 'count', ...given.takes].includes(key));
    const usual = given.defaults[key];
    if (typeof usual === 'number') input.placeholder = String(usual);
  }
  the('notes').replaceChildren();
  for (const line of given.notes) note(line);
  make.disabled = asked !== undefined;
}

/** The request of the form; what is empty is left to the model. */
function requestOf(data: FormData, { takes }: OpenedModel): Request {
  const text = (key: string) => String(data.get(key) ?? '').trim();
  const number = (key: string) => (text(key) === '' ? undefined : Number(text(key)));
  const taken = (key: keyof Request) => takes.includes(key);
  const request: Request = {
    ...(taken('prompt') && { prompt: text('prompt') }),
    ...(taken('negative') && text('negative') !== '' && { negative: text('negative') }),
    ...(taken('labels') && text('labels') !== '' && { labels: text('labels') }),
    ...(taken('guidance') && { guidance: number('guidance') }),
    ...{ steps: number('steps'), count: number('count'), seed: text('seed') || '0' },
  };
  return Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined));
}

const PHASES: Readonly<Record<Progress['phase'], string>> = {
  loading: 'Loading weights',
  encoding: 'Reading the prompt',
  sampling: 'Step',
  decoding: 'Decoding',
};

/** How far it is, and how long it will take by the time of the steps so far. */
function progressed({ phase, done, total }: Progress): void {
  if (asked === undefined) return;
  const bar = the<HTMLProgressElement>('bar');
  bar.value = total === 0 ? 1 : done / total;
  let left = '';
  if (phase === 'sampling') {
    asked.sampling ??= { from: performance.now(), done };
    const { from, done: before } = asked.sampling;
    if (done > before) left = `, ${seconds(((performance.now() - from) / (done - before)) * (total - done))} left`;
  }
  say(`${PHASES[phase]} ${done} of ${total}${left}`);
}

function seconds(milliseconds: number): string {
  const s = Math.round(milliseconds / 1000);
  return s < 120 ? `${s} s` : `${Math.floor(s / 60)} min ${s % 60} s`;
}

/** A picture with what it was made from, and a link that saves it. */
function figureOf(picture: GeneratedImage): HTMLElement {
  const { job } = picture;
  const { steps, guidance } = { ...model?.defaults, ...asked?.request };
  const what = [job.prompt, job.label === null ? '' : (model?.classes[job.label] ?? String(job.label))].filter(Boolean);
  const canvas = canvasOf(picture);
  canvas.title = what.join(', ');
  const save = document.createElement('a');
  save.textContent = 'save';
  save.href = canvas.toDataURL('image/png');
  save.download = `${[...what, job.seed].join(' ').replace(/[^\p{L}\p{N}]+/gu, '-')}.png`;
  const caption = document.createElement('figcaption');
  const negative = job.negative ? ` · not ${job.negative}` : '';
  const scale = guidance === undefined ? '' : `guidance ${guidance}, `;
  caption.append(`${what.join(', ')}${negative} · ${scale}${steps} steps, seed ${job.seed} · `, save);
  const figure = document.createElement('figure');
  figure.append(canvas, caption);
  return figure;
}

function canvasOf({ data, height, width, channels }: Bitmap): HTMLCanvasElement {
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { height, width });
  const pixels = new Uint8ClampedArray(4 * height * width).fill(255);
  for (let i = 0; i < height * width; i++)
    for (let c = 0; c < 3; c++) pixels[4 * i + c] = data[channels === 1 ? i : channels * i + c]!;
  canvas.getContext('2d')!.putImageData(new ImageData(pixels, width, height), 0, 0);
  return canvas;
}

function busy(is: boolean, status?: string): void {
  if (!is) asked = undefined;
  make.disabled = is || model === undefined;
  cancel.disabled = !is;
  if (!is) the('preview').replaceChildren();
  show(the('work'), true);
  const bar = the<HTMLProgressElement>('bar');
  show(bar, is);
  if (is) bar.removeAttribute('value');
  if (status !== undefined) say(status);
}

function fail(message: string): void {
  const box = the('error');
  box.textContent = message;
  show(box, true);
  if (model === undefined) the('model').textContent = 'No model is open: choose the folder of one.';
  busy(false, '');
}

function note(line: string): void {
  const item = document.createElement('li');
  item.textContent = line;
  the('notes').append(item);
  show(the('notes'), true);
}

function say(status: string): void {
  the('status').textContent = status;
}

function show(element: HTMLElement, visible: boolean): void {
  element.hidden = !visible;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

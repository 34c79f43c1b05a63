import type { Bitmap } from '@mezzotint/data/pixels';
import type { GeneratedImage, Progress, Request, RequestKey } from '@mezzotint/pipelines';

/** From the page to the worker. */
export type ToWorker =
  | { readonly kind: 'open'; readonly files: ReadonlyMap<string, Blob> }
  | { readonly kind: 'make'; readonly request: Request; readonly previews: boolean }
  | { readonly kind: 'cancel' };

/** What the page is told of a model. */
export interface OpenedModel {
  readonly description: string;
  readonly notes: readonly string[];
  readonly takes: readonly RequestKey[];
  readonly defaults: Request;
  readonly classes: readonly string[];
  /** What computes, such as `WebAssembly, cpu, simd, 4 threads`. */
  readonly engine: string;
}

/** From the worker to the page. */
export type FromWorker =
  | { readonly kind: 'opened'; readonly model: OpenedModel }
  | { readonly kind: 'progress'; readonly progress: Progress }
  | { readonly kind: 'note'; readonly line: string }
  | { readonly kind: 'preview'; readonly pictures: readonly Bitmap[] }
  | { readonly kind: 'pictures'; readonly pictures: readonly GeneratedImage[] }
  | { readonly kind: 'made'; readonly seconds: number }
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'failed'; readonly message: string };

import type { ChosenEngine } from '../use-backend.js';
import type { PlainError } from './plain-error.js';

/** To the thread: start run `run`, or abort it. */
export type Request =
  | { readonly kind: 'run'; readonly run: number; readonly job: string; readonly input: unknown }
  | { readonly kind: 'abort'; readonly run: number };

/** From the thread. */
export type Answer =
  | { readonly kind: 'ready'; readonly engine: ChosenEngine }
  | { readonly kind: 'absent'; readonly error: PlainError }
  | { readonly kind: 'report'; readonly run: number; readonly value: unknown }
  | { readonly kind: 'done'; readonly run: number; readonly value: unknown }
  | { readonly kind: 'failed'; readonly run: number; readonly error: PlainError };

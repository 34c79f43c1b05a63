import type { Engine, EngineName } from '../engine.js';
import { cpu } from './cpu.js';
import { onnxruntime } from './onnxruntime.js';
import { tensorflow } from './tensorflow.js';
import { wasm } from './wasm.js';

/** Every engine by name. */
export const ENGINES: Readonly<Record<EngineName, Engine>> = { tensorflow, onnxruntime, wasm, cpu };

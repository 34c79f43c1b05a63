import type { Module } from '@mezzotint/core';
import { tensorsAreInHostMemory } from '../engine.js';
import type { Average } from './average.js';
import type { EmaDecay } from './ema-decay.js';
import { EmaOnDevice } from './ema-on-device.js';
import { EmaOnHost } from './ema-on-host.js';

/**
 * The exponential moving average e' = e + (1 - decay) (p - e) of a model's parameters, starting at their present values,
 * in the form that is fast on the engine in use. The state of one form loads into the other.
 */
export function ema(model: Module, decay: EmaDecay): Average {
  return tensorsAreInHostMemory() ? new EmaOnHost(model, decay) : new EmaOnDevice(model, decay);
}

import type { Module } from '@mezzotint/core';
import { tensorsAreInHostMemory } from '../engine.js';
import { hasAdamWKernel } from './adamw-kernel.js';
import { AdamWOnDevice } from './adamw-on-device.js';
import { AdamWOnHost } from './adamw-on-host.js';
import type { AdamWOptions } from './adamw-options.js';
import type { Optimizer } from './optimizer.js';

/**
 * AdamW (Loshchilov and Hutter 2019) over the trainable parameters of a model, with PyTorch's numbers, in the form
 * that is fast on the engine in use: the engine's fused kernel, one pass on the host, or kernels on the device. The
 * state of one form loads into the other.
 *
 * @throws InvalidArgumentError when an option is out of range
 */
export function adamW(model: Module, options: AdamWOptions = {}): Optimizer {
  const params = new Map([...model.params()].filter(([, param]) => param.trainable));
  const onHost = tensorsAreInHostMemory() && !hasAdamWKernel();
  return onHost ? new AdamWOnHost(params, options) : new AdamWOnDevice(params, options);
}

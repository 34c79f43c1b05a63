import * as tf from '@tensorflow/tfjs-core';
import { ENGINE_NAMES, type EngineChoice, type EngineFacts } from '../engine.js';
import { ENGINES } from './index.js';

/** The engine and provider that a text names, or undefined where there is no such engine. */
export function asChoice(text: string): EngineChoice | undefined {
  if (text === 'onnxruntime:cpu') return 'onnxruntime';
  return ENGINE_NAMES.find((name) => name === text) ?? (isProvider(text) ? text : undefined);
}

/** What can be asked for, for messages. */
export const CHOICES = `${ENGINE_NAMES.join(', ')}, or onnxruntime:PROVIDER`;

/** Makes an engine the active one. When it cannot be, the engine that was active is so again, and the reason is thrown. */
export async function loadEngine(choice: EngineChoice): Promise<EngineFacts> {
  const before = tf.getBackend();
  try {
    return await (isProvider(choice) ? ENGINES.onnxruntime.load(choice.slice(PREFIX.length)) : ENGINES[choice].load());
  } catch (error) {
    if (before && tf.getBackend() !== before) await tf.setBackend(before);
    throw error;
  }
}

const PREFIX = 'onnxruntime:';

function isProvider(choice: string): choice is `onnxruntime:${string}` {
  return choice.startsWith(PREFIX) && choice.length > PREFIX.length;
}

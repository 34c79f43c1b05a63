import * as tf from '@tensorflow/tfjs-core';
import { ENGINE_NAMES, type EngineFacts, type EngineName } from './engine.js';
import { ENGINES } from './engines/index.js';
import { reasonOf } from './engines/reason.js';

/** One engine of this machine: its facts when it loads, else the reason. */
export type EngineReport =
  | ({ readonly name: EngineName; readonly loads: true } & EngineFacts)
  | { readonly name: EngineName; readonly loads: false; readonly reason: string };

/** Loads every engine in turn and reports on each; the engine that was active before is active again after. */
export async function listEngines(): Promise<EngineReport[]> {
  const before = tf.getBackend();
  const reports: EngineReport[] = [];
  for (const name of ENGINE_NAMES) {
    try {
      reports.push({ name, loads: true, ...(await ENGINES[name].load()) });
    } catch (error) {
      reports.push({ name, loads: false, reason: reasonOf(error) });
    }
  }
  if (before) await tf.setBackend(before);
  return reports;
}

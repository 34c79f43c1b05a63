import * as tf from '@tensorflow/tfjs-core';
import { ENGINE_NAMES, type EngineChoice, type EngineFacts } from './engine.js';
import { loadEngine } from './engines/load-engine.js';
import { otherProviders } from './engines/onnxruntime.js';
import { reasonOf } from './engines/reason.js';

/** One engine of this machine: its facts when it loads, else the reason. */
export type EngineReport =
  | ({ readonly name: EngineChoice; readonly loads: true } & EngineFacts)
  | { readonly name: EngineChoice; readonly loads: false; readonly reason: string };

export interface ListEnginesOptions {
  /** Also the execution providers that ONNX Runtime's build knows, each tried once; false when absent. */
  readonly providers?: boolean | undefined;
}

/** Loads every engine in turn and reports on each; the engine that was active before is active again after. */
export async function listEngines({ providers = false }: ListEnginesOptions = {}): Promise<EngineReport[]> {
  const before = tf.getBackend();
  const reports: EngineReport[] = [];
  for (const name of ENGINE_NAMES) {
    const report = await reportOn(name);
    reports.push(report);
    if (!providers || name !== 'onnxruntime' || !report.loads) continue;
    for (const provider of await otherProviders()) reports.push(await reportOn(`onnxruntime:${provider}`));
  }
  if (before) await tf.setBackend(before);
  return reports;
}

async function reportOn(name: EngineChoice): Promise<EngineReport> {
  try {
    return { name, loads: true, ...(await loadEngine(name)) };
  } catch (error) {
    return { name, loads: false, reason: reasonOf(error) };
  }
}

import type { EngineWorker, JobContext } from '@mezzotint/backend/worker';
import { type DenoisingNetwork, InvalidArgumentError } from '@mezzotint/core';
import type { DiffusionConfig } from '@mezzotint/pipelines';
import { type ModelFolder, openDiffusionModel } from './model-folder.js';
import { type SampledImages, type SamplingHooks, type SamplingPlan, sampleImages } from './sampling.js';

/** Jobs of an engine's thread that opens a diffusion model and samples from it; for `serveJobs`. */
export function samplingJobs() {
  let opened: ModelFolder<DiffusionConfig, DenoisingNetwork> | undefined;
  return {
    /** Opens a model in the place of the one before; returns where it is and its configuration. */
    async openModel(path: string): Promise<Omit<ModelFolder<DiffusionConfig, DenoisingNetwork>, 'model'>> {
      opened?.model.dispose();
      opened = undefined;
      opened = await openDiffusionModel(path);
      return { path: opened.path, config: opened.config };
    },
    /** `sampleImages` of the opened model; reports steps done and in all. */
    sampleImages(
      plan: SamplingPlan,
      { signal, report }: JobContext<readonly [number, number]>,
    ): Promise<SampledImages> {
      if (opened === undefined)
        throw new InvalidArgumentError('sampleImages', 'expected openModel to be asked for first');
      return sampleImages(opened, plan, { signal, onStep: (done, total) => report([done, total]) });
    },
  };
}

export type SamplingJobs = ReturnType<typeof samplingJobs>;

/** A diffusion model in an engine's thread. */
export interface RemoteModel extends Omit<ModelFolder<DiffusionConfig, DenoisingNetwork>, 'model'> {
  /** As `sampleImages`, without blocking this thread. */
  sampleImages(plan: SamplingPlan, hooks?: SamplingHooks): Promise<SampledImages>;
}

/** Opens a model folder in an engine's thread that serves `samplingJobs()`. */
export async function openRemoteModel(worker: EngineWorker<SamplingJobs>, path: string): Promise<RemoteModel> {
  const { path: folder, config } = await worker.run('openModel', path);
  return {
    path: folder,
    config,
    sampleImages: (plan, { signal, onStep } = {}) =>
      worker.run('sampleImages', plan, { signal, onReport: ([done, total]) => onStep?.(done, total) }),
  };
}

import type { Request, Settings } from './request.js';
import type { Stage } from './stage.js';

/** What a stage's makers say where the request says nothing. */
export type StageDefaults = Pick<Request, 'steps' | 'guidance' | 'solver' | 'threshold' | 'noiseLevel'>;

/** Settings that a cascade takes once for each stage, and the setting of one stage that each becomes. */
export const stageLists = {
  stageSteps: 'steps',
  stageGuidance: 'guidance',
  stageSolvers: 'solver',
  stageThresholds: 'threshold',
  stageNoiseLevels: 'noiseLevel',
} as const;

/** The names of those settings, for what a family takes. */
export const stageKeys = Object.keys(stageLists) as (keyof typeof stageLists)[];

/** Lists that have not one value for each stage; each a line. */
export function stageProblems(stages: readonly Stage[], asked: Request): string[] {
  return stageKeys.flatMap((key) => {
    const list = asked[key];
    if (list === undefined || list.length === stages.length) return [];
    const names = stages.map(({ name }) => name).join(', ');
    return [`${key}: expected one for each of the ${stages.length} stages (${names}), got ${list.length}`];
  });
}

/**
 * The settings of each stage: those of the lists, else what was asked of all stages, else what the stage's makers say, else the
 * model's.
 */
export function settingsByStage(stages: readonly Stage[], asked: Request, settings: Settings): Settings[] {
  return stages.map(({ defaults = {} }, i) => {
    const own = Object.entries(stageLists).flatMap(([list, key]) => {
      const value = asked[list as keyof typeof stageLists]?.[i] ?? asked[key] ?? defaults[key];
      return value === undefined ? [] : [[key, value]];
    });
    return { ...settings, ...Object.fromEntries(own) };
  });
}

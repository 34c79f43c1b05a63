import { flagOf, readConfig } from '@mezzotint/app';
import { InvalidArgumentError } from '@mezzotint/core';
import type { TrainFlags } from './command.js';
import { type ConfigFlags, type TrainConfig, trainConfigSchema } from './config.js';
import { configFromFlags } from './defaults.js';

/** Flags that make a configuration where there is none, and say nothing beside one. */
const PRESET_FLAGS = [
  ...['preset', 'architecture', 'recipe', 'size', 'channels', 'classes', 'captions', 'init', 'lora'],
  ...['prompt', 'token', 'initializer', 'priorPrompt', 'flip'],
] as const satisfies readonly (keyof TrainFlags)[];

/** Flags of the form `--no-x`, which are true unless they are said. */
const NEGATED: readonly string[] = ['classes', 'captions'] satisfies readonly (keyof TrainFlags)[];

/**
 * The configuration file with the flags over it, or one made of flags; undefined when a run goes on as it was. Beside a configuration file
 * `--data` and `--text-encoder` name other pictures and another encoder of captions.
 *
 * @throws InvalidArgumentError that names every flag that would do nothing
 */
export async function givenConfig(flags: TrainFlags): Promise<TrainConfig | undefined> {
  const { config: file, resume = false } = flags;
  if (file === undefined && !resume) return withOverrides(await configFromFlags(flags), flags);
  const idle = [...PRESET_FLAGS, ...(file === undefined ? (['data', 'textEncoder'] as const) : [])];
  const unused = idle.filter((name) => (NEGATED.includes(name) ? flags[name] === false : flags[name] !== undefined));
  if (unused.length > 0) {
    const place = file ?? `config.json of ${flags.run}, which --resume goes on with`;
    throw new InvalidArgumentError(
      unused.map(flagName).join(', '),
      `set it in ${place}: the flag would do nothing beside it`,
    );
  }
  if (file === undefined) return undefined;
  return withOverrides(elsewhere(readConfig(file, trainConfigSchema), flags), flags);
}

/** `--data` and `--text-encoder` over a configuration. */
function elsewhere(config: TrainConfig, { data: path, textEncoder: from }: TrainFlags): TrainConfig {
  const problems: string[] = [];
  const { data } = config;
  if (path !== undefined && !('path' in data)) {
    problems.push(`--data: the configuration is of ${data.kind}, which lie in no folder`);
  }
  const conditions = 'conditions' in config ? config.conditions : undefined;
  const encoders = conditions?.kind === 'captions' ? conditions.encoders : [];
  if (from !== undefined && !(encoders.length === 1 && 'from' in encoders[0]!)) {
    problems.push(`--text-encoder: the configuration has ${encoders.length} text encoders of a folder, expected 1`);
  }
  if (problems.length > 0) throw new InvalidArgumentError('train', problems);
  return {
    ...config,
    ...(path !== undefined && { data: { ...data, path } }),
    ...(conditions !== undefined && {
      conditions: {
        ...conditions,
        ...(from !== undefined && { encoders: [{ ...encoders[0], from }] }),
        // They are of the other pictures; grids show captions of these.
        ...(path !== undefined && { prompts: [] }),
      },
    }),
  } as TrainConfig;
}

function withOverrides(config: TrainConfig, flags: TrainFlags): TrainConfig {
  const { distributed, ...over } = overridesOf(flags);
  return { ...config, ...over, distributed: { ...config.distributed, ...distributed } };
}

/** What flags say of any configuration. */
export function overridesOf({ steps, batchSize, seed, wire, shardOptimizer }: TrainFlags): ConfigFlags {
  return {
    ...(steps !== undefined && { steps }),
    ...(batchSize !== undefined && { batchSize }),
    ...(seed !== undefined && { seed }),
    distributed: { ...(wire !== undefined && { wire }), ...(shardOptimizer !== undefined && { shardOptimizer }) },
  };
}

/** `priorPrompt` -> `--prior-prompt`; `classes` -> `--no-classes`. */
function flagName(name: string): string {
  return NEGATED.includes(name) ? `--no-${name}` : flagOf(name);
}

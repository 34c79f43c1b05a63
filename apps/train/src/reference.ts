import { recipes } from '@mezzotint/training';
import { z } from 'zod';
import { trainConfigSchema } from './config.js';

/** A schema as zod writes it in JSON Schema. */
interface Schema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly items?: Schema;
  readonly prefixItems?: readonly Schema[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
}

/** docs/train-configuration.md: every key of a configuration, from the schema that checks it. */
export function referencePage(): string {
  const schema = z.toJSONSchema(trainConfigSchema, { io: 'input' }) as Schema;
  const tasks = (schema.oneOf ?? schema.anyOf ?? []) as readonly Schema[];
  const names = tasks.map((task) => String(task.properties!.task!.const));
  const shared = Object.keys(tasks[0]!.properties!).filter(
    (key) =>
      key !== 'task' &&
      tasks.every(({ properties }) => JSON.stringify(properties![key]) === JSON.stringify(tasks[0]!.properties![key])),
  );
  const sections = [
    section('Every task', tasks[0]!, shared),
    ...tasks.map((task, i) =>
      section(
        `\`"task": "${names[i]}"\``,
        task,
        Object.keys(task.properties!).filter((key) => !shared.includes(key)),
      ),
    ),
  ];
  return [
    '# The configuration of `pnpm train`',
    '',
    '<!-- Made from apps/train/src/config.ts: pnpm train:reference. Do not edit. -->',
    '',
    'A JSON object, given with `--config`. Keys without a default must be there. `pnpm train --data ... --preset ...` makes one by',
    'itself and writes it, whole, into `config.json` of the run folder: copy it from there to change it. Where an object has a default of its',
    'own, that is what is taken when the key is absent; an object that is given takes the defaults of its keys.',
    '',
    ...sections,
    '## Recipes',
    '',
    'A recipe fills in what is left out of `process`, `optimizer`, `learningRate` and `sampling`.',
    '',
    '| recipe | what it is | optimizer | rate | sampled by |',
    '| --- | --- | --- | --- | --- |',
    ...recipes.map(
      ({ name, about, optimizer, learningRate, sampling }) =>
        `| \`${name}\` | ${about} | ${optimizer.kind}, betas ${optimizer.betas.join(', ')}, decay ${optimizer.weightDecay} | ${learningRate.kind}, ${learningRate.peak} | ${sampling.solver}, ${sampling.steps} steps |`,
    ),
    '',
  ].join('\n');
}

function section(title: string, { properties = {}, required = [] }: Schema, keys: readonly string[]): string {
  const rows = keys.flatMap((key) => rowsOf(key, properties[key]!, required.includes(key)));
  return [`## ${title}`, '', '| key | value | default | meaning |', '| --- | --- | --- | --- |', ...rows, ''].join(
    '\n',
  );
}

/** The row of a key and those of the keys inside it. */
function rowsOf(path: string, schema: Schema, required: boolean): string[] {
  const standard = schema.default === undefined ? (required ? '' : 'none') : `\`${JSON.stringify(schema.default)}\``;
  const hasParts = isObject(schema) && JSON.stringify(schema.default) === '{}';
  const own = `| \`${path}\` | ${kindOf(schema)} | ${hasParts ? 'see below' : standard} | ${(schema.description ?? '').replaceAll('|', '\\|')} |`;
  const variants = (schema.oneOf ?? schema.anyOf ?? []).filter(isObject);
  const inner = isObject(schema)
    ? partsOf(path, schema)
    : variants.flatMap((variant) => {
        const tag = Object.entries(variant.properties ?? {}).find(([, { const: value }]) => value !== undefined);
        if (tag === undefined) return partsOf(path, variant);
        const head = `| \`${path}.${tag[0]}\` | \`${JSON.stringify(tag[1].const)}\` |  | ${tag[1].description ?? ''} |`;
        return [head, ...partsOf(`${path}[${tag[1].const}]`, variant, tag[0])];
      });
  return [own, ...inner];
}

function partsOf(path: string, { properties = {}, required = [] }: Schema, leaveOut?: string): string[] {
  return Object.entries(properties)
    .filter(([key]) => key !== leaveOut)
    .flatMap(([key, part]) => rowsOf(`${path}.${key}`, part, required.includes(key)));
}

function isObject({ properties }: Schema): boolean {
  return properties !== undefined && Object.keys(properties).length > 0;
}

/** What a value may be, in words. */
function kindOf(schema: Schema): string {
  const { type, enum: values, const: only, anyOf, oneOf, items, prefixItems } = schema;
  if (only !== undefined) return `\`${JSON.stringify(only)}\``;
  if (values !== undefined) return values.map((value) => `\`${JSON.stringify(value)}\``).join(', ');
  const choices = oneOf ?? anyOf;
  if (choices !== undefined) return [...new Set(choices.map(kindOf))].join(' or ');
  if (prefixItems !== undefined) return `[${prefixItems.map(kindOf).join(', ')}]`;
  if (type === 'array') return `list of ${kindOf(items ?? {})}`;
  if (type === 'null') return '`null`';
  if (type === 'object') return 'object';
  if (type === 'number' || type === 'integer') return type + rangeOf(schema);
  return String(type ?? 'anything');
}

function rangeOf({ minimum, maximum, exclusiveMinimum, exclusiveMaximum }: Schema): string {
  const least =
    exclusiveMinimum !== undefined
      ? ` > ${exclusiveMinimum}`
      : minimum !== undefined && minimum > -9e15
        ? ` >= ${minimum}`
        : '';
  const most =
    exclusiveMaximum !== undefined
      ? ` < ${exclusiveMaximum}`
      : maximum !== undefined && maximum < 9e15
        ? ` <= ${maximum}`
        : '';
  return [least, most].filter(Boolean).join(',');
}

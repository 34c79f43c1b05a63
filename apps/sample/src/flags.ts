import { flagOf, oneOf, realNumber, seedNumber, wholeNumber } from '@mezzotint/app/terminal';
import { InvalidArgumentError } from '@mezzotint/core';
import { commonGuidanceOptions, guidances } from '@mezzotint/guidance';
import { openSchema, requestSchema, type SettingMeta } from '@mezzotint/pipelines';
import { type Command, Option } from 'commander';
import { z } from 'zod';

/** Headings of help, in order. */
const GROUPS: Readonly<Record<SettingMeta['group'], string>> = {
  what: 'What to make:',
  picture: 'Size and conditions:',
  sampling: 'Sampling:',
  guidance: 'Guidance:',
  text: 'Text:',
  start: 'From a picture:',
  model: 'Model:',
  speed: 'Speed and memory:',
};

/** Adds a flag for each setting of the schemas of @mezzotint/pipelines, under their headings. */
export function addSchemaFlags(command: Command): Command {
  const settings = Object.entries({ ...requestSchema.shape, ...openSchema.shape });
  for (const [group, heading] of Object.entries(GROUPS)) {
    for (const [key, optional] of settings) {
      const schema = (optional as z.ZodOptional<z.ZodType>).unwrap();
      const { group: own, value = '' } = (schema.meta() ?? {}) as Partial<SettingMeta>;
      if (own !== group) continue;
      const flag = flagOf(key);
      const option = new Option(value === '' ? flag : `${flag} <${value}>`, schema.description).helpGroup(heading);
      const parse = parserOf(flag, schema);
      command.addOption(parse === undefined ? option : option.argParser(parse));
    }
  }
  return command;
}

type Parser = (text: string, before: unknown) => unknown;

/** How a flag's text becomes the value of a setting; undefined where it is the text. */
function parserOf(flag: string, schema: z.ZodType): Parser | undefined {
  if (schema instanceof z.ZodNumber) return numberParser(flag, schema);
  if (schema instanceof z.ZodCustom) return seedNumber(flag);
  if (schema instanceof z.ZodEnum) return oneOf(flag, schema.options as string[]);
  if (schema instanceof z.ZodRecord) return (text, before) => ({ ...(before as object), ...assignment(flag, text) });
  // A text or path, or several: the flag again adds one.
  if (schema instanceof z.ZodUnion && schema.options.some(isListOfTexts)) {
    return (text, before) => (before === undefined ? text : [before, text].flat());
  }
  if (schema instanceof z.ZodTuple) return (text) => numbers(flag, text, schema.def.items.length);
  if (schema instanceof z.ZodArray) {
    const element = schema.element as z.ZodType;
    if (element instanceof z.ZodCustom) return (text) => text.split(',').map((part) => part.trim());
    if (element instanceof z.ZodEnum) {
      const one = oneOf(flag, element.options as string[]);
      return (text) => text.split(',').map((part) => one(part.trim()));
    }
    if (!(element instanceof z.ZodObject)) return (text) => numbers(flag, text);
    if (element.shape.name !== undefined)
      return (text, before) => [...((before as unknown[]) ?? []), guideOf(flag, text)];
    const second = Object.keys(element.shape)[1]!;
    return (text, before) => [...((before as unknown[]) ?? []), fileWith(flag, text, second)];
  }
  return undefined;
}

const isListOfTexts = (schema: unknown) => schema instanceof z.ZodArray && schema.element instanceof z.ZodString;

function numberParser(flag: string, schema: z.ZodNumber): Parser {
  const { minValue, maxValue } = schema;
  const [least, most] = [minValue ?? Number.NEGATIVE_INFINITY, maxValue ?? Number.POSITIVE_INFINITY];
  return schema.format === 'safeint' ? wholeNumber(flag, Math.max(least, 0)) : realNumber(flag, least, most);
}

/** `0,1,2` or `512,768`. */
function numbers(flag: string, text: string, count?: number): number[] {
  const list = text.split(',').map((part) => realNumber(flag)(part.trim()));
  if (count !== undefined && list.length !== count)
    throw new InvalidArgumentError(flag, `expected ${count} numbers with commas between, got '${text}'`);
  return list;
}

/** `eta=0.5`, `sigmas=karras`, `lowerOrderFinal=true`. */
function assignment(flag: string, text: string): Record<string, number | boolean | string> {
  const [, name, value] = /^(\w+)=(.+)$/.exec(text) ?? [];
  if (name === undefined || value === undefined)
    throw new InvalidArgumentError(flag, `expected name=value, got '${text}'`);
  if (value === 'true' || value === 'false') return { [name]: value === 'true' };
  return { [name]: Number.isNaN(Number(value)) ? value : Number(value) };
}

/** `pag`, or `pag:layers=blocks.3.attn:scale=3`; an option reads its value as the guidance declares it. */
function guideOf(flag: string, text: string): Record<string, unknown> {
  const [name = '', ...given] = text.split(':');
  const record = guidances.find((known) => known.name === name);
  if (record === undefined) {
    throw new InvalidArgumentError(
      flag,
      `expected one of ${guidances.map((known) => known.name).join(', ')}, got '${name}'`,
    );
  }
  const options = given.map((part): [string, unknown] => {
    const [, key = '', value = ''] = /^(\w+)=(.+)$/.exec(part) ?? [];
    if (key === '') throw new InvalidArgumentError(flag, `expected name:option=value, got '${text}'`);
    const { type } = { ...record.options, ...commonGuidanceOptions }[key] ?? {};
    if (type === 'numbers') return [key, numbers(flag, value)];
    return type === 'layers' ? [key, value] : Object.entries(assignment(flag, part))[0]!;
  });
  return { name, ...Object.fromEntries(options) };
}

/** The table of guidances in help. */
export function guidanceHelp(): string {
  const shown = (absent: unknown) => (absent === undefined ? '…' : String(absent));
  const lines = guidances.map(({ name, about, options }) => {
    const given = Object.entries(options).map(([key, { absent }]) => `${key}=${shown(absent)}`);
    return `  ${name.padEnd(22)}${about}${given.length > 0 ? `\n${' '.repeat(24)}${given.join(' ')}` : ''}`;
  });
  return `\nGuidance by name (--guide), with the options and their defaults; all have start=0 stop=1, fractions of the steps:\n${lines.join('\n')}\n`;
}

/** `file` or `file:scale` (any number), or `file:token`. */
function fileWith(flag: string, text: string, second: string): Record<string, string | number> {
  const [, path, rest] =
    second === 'scale'
      ? (/^(.+?)(?::([+-]?[\d.]+(?:e[+-]?\d+)?))?$/i.exec(text) ?? [])
      : (/^(.+?)(?::([^/\\:]+))?$/.exec(text) ?? []);
  if (path === undefined) throw new InvalidArgumentError(flag, `expected file or file:${second}, got '${text}'`);
  return { path, ...(rest !== undefined && { [second]: second === 'scale' ? Number(rest) : rest }) };
}

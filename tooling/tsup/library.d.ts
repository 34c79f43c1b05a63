import type { defineConfig } from 'tsup';

type Config = ReturnType<typeof defineConfig>;

export declare function library(entry?: Record<string, string>): Config;
export declare function app(entry?: Record<string, string>): Config;

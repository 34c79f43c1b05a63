import type { UserWorkspaceConfig } from 'vitest/config';

export declare function project(name: string): UserWorkspaceConfig;
export declare function projectWithThreads(name: string): UserWorkspaceConfig;

/** What can be asked of a server: its routes, the tools of MCP, and what is there already. */
import type { Schema } from './sample.ts';

export interface Route {
  readonly method: string;
  readonly path: string;
  readonly parameters: readonly { in: string; name: string; schema: Schema }[];
  readonly body: Schema | undefined;
  readonly type: string;
}

export interface Tool {
  readonly name: string;
  readonly inputSchema: Schema;
}

export interface Target {
  readonly key: string;
  /** Of somebody else: nobody decides about what they asked for themselves. */
  readonly approverKey: string;
  readonly host: string;
  readonly routes: readonly Route[];
  readonly tools: readonly Tool[];
  /** Ids of what is there, by the folder of their routes. */
  readonly ids: Readonly<Record<string, string>>;
  /** The entity tag of the policy in force: behind it the document is read. */
  readonly revision: string;
}

/** Routes and parameters of an OpenAPI document. */
export function routesOf(document: { paths: Record<string, Record<string, unknown>> }): Route[] {
  interface Operation {
    readonly parameters?: Route['parameters'];
    readonly requestBody?: { readonly content: Record<string, { readonly schema?: Schema }> };
  }
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods as Record<string, Operation>).map(([method, operation]) => {
      const [type, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
      const body = type === undefined ? undefined : (content?.schema ?? {});
      const { parameters = [] } = operation;
      return { method: method.toUpperCase(), path, parameters, body, type: type ?? '' };
    }),
  );
}

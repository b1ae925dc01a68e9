/** What to write elsewhere to call an endpoint. Pure. */

import type { Language } from './view';

export interface ICall {
  url: string;
  /** JSON. */
  body: string;
  /**
   * What authorizes the call: `Bearer` and a key of the endpoint, or `token` and one of Jupyter;
   * `null`: nothing does. It is read from a variable, so that no secret is written down.
   */
  key: { scheme: 'Bearer' | 'token'; variable: string } | null;
}

/** A call in a language, ready to be run. */
export function snippet(language: Language, call: ICall): string {
  switch (language) {
    case 'curl':
      return curl(call);
    case 'python':
      return python(call);
    case 'javascript':
      return javascript(call);
  }
}

function curl({ url, body, key }: ICall): string {
  return [
    `curl ${shellQuoted(url)}`,
    ...(key === null ? [] : [`  -H "Authorization: ${key.scheme} $${key.variable}"`]),
    `  -H 'Content-Type: application/json'`,
    `  -d ${shellQuoted(body)}`
  ].join(' \\\n');
}

function python({ url, body, key }: ICall): string {
  const header = key && `{"Authorization": f"${key.scheme} {os.environ['${key.variable}']}"}`;
  return [
    ...(key === null ? [] : ['import os', '']),
    'import requests',
    '',
    'answer = requests.post(',
    `    ${JSON.stringify(url)},`,
    `    json=${pythonText(JSON.parse(body))},`,
    ...(header === null ? [] : [`    headers=${header},`]),
    '    timeout=30,',
    ')',
    'answer.raise_for_status()',
    'print(answer.json())'
  ].join('\n');
}

function javascript({ url, body, key }: ICall): string {
  const header = key && `    Authorization: \`${key.scheme} \${process.env.${key.variable}}\`,`;
  return [
    `const answer = await fetch(${JSON.stringify(url)}, {`,
    "  method: 'POST',",
    '  headers: {',
    ...(header === null ? [] : [header]),
    "    'Content-Type': 'application/json'",
    '  },',
    `  body: JSON.stringify(${JSON.stringify(JSON.parse(body))})`,
    '});',
    'if (!answer.ok) {',
    '  throw new Error(`${answer.status}: ${await answer.text()}`);',
    '}',
    'console.log(await answer.json());'
  ].join('\n');
}

/** One word of a shell, whatever is in it. */
export function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** A value of JSON as Python writes it. */
export function pythonText(value: unknown): string {
  if (value === null) {
    return 'None';
  }
  if (typeof value === 'boolean') {
    return value ? 'True' : 'False';
  }
  if (Array.isArray(value)) {
    return `[${value.map(pythonText).join(', ')}]`;
  }
  if (typeof value === 'object') {
    const parts = Object.entries(value).map(
      ([key, each]) => `${JSON.stringify(key)}: ${pythonText(each)}`
    );
    return `{${parts.join(', ')}}`;
  }
  return JSON.stringify(value);
}

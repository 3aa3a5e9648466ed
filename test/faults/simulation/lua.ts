/**
 * Runs the product's own scripts, as Redis does, in this process. Redis speaks Lua 5.1, this is 5.3: numbers are made
 * doubles here, as they are there. redis-model.test.ts holds both to the same replies and the same keys.
 */
import fengari from 'fengari';
import type { Reply, Store } from './store.ts';

const { lua, lauxlib, lualib, to_luastring: lstring } = fengari;
type State = Parameters<typeof lua.lua_gettop>[0];

const state = lauxlib.luaL_newstate();
const compiled = new Map<string, number>();
let store: Store | undefined;

function push(to: State, value: Reply | boolean): void {
  if (value === null || typeof value === 'boolean') lua.lua_pushboolean(to, value === true);
  else if (typeof value === 'number') lua.lua_pushnumber(to, value);
  else if (typeof value === 'string') lua.lua_pushstring(to, lstring(value));
  else {
    lua.lua_createtable(to, value.length, 0);
    value.forEach((one, at) => {
      push(to, one);
      lua.lua_rawseti(to, -2, at + 1);
    });
  }
}

/** What a script answers: a table up to its first nil, numbers without their fraction. */
function replyAt(from: State, index: number): Reply {
  switch (lua.lua_type(from, index)) {
    case lua.LUA_TSTRING:
      return lua.lua_tojsstring(from, index);
    case lua.LUA_TNUMBER:
      return Math.trunc(lua.lua_tonumber(from, index));
    case lua.LUA_TBOOLEAN:
      return lua.lua_toboolean(from, index) ? 1 : null;
    case lua.LUA_TTABLE:
      return Array.from({ length: lua.lua_rawlen(from, index) }, (_, at) => {
        lua.lua_rawgeti(from, index, at + 1);
        const one = replyAt(from, lua.lua_gettop(from));
        lua.lua_pop(from, 1);
        return one;
      });
    default:
      return null;
  }
}

const argument = (from: State, index: number): string =>
  lua.lua_type(from, index) === lua.LUA_TNUMBER
    ? String(lua.lua_tonumber(from, index))
    : lua.lua_tojsstring(from, index);

function callRedis(from: State): number {
  const args = Array.from({ length: lua.lua_gettop(from) }, (_, at) => argument(from, at + 1));
  push(from, (store as Store).call(args[0] as string, args.slice(1)));
  return 1;
}

function pushJson(to: State, value: unknown): void {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    lua.lua_createtable(to, 0, 0);
    for (const [name, one] of Object.entries(value)) {
      pushJson(to, one);
      lua.lua_setfield(to, -2, lstring(name));
    }
  } else push(to, value as Reply | boolean);
}

function decodeJson(from: State): number {
  pushJson(from, JSON.parse(lua.lua_tojsstring(from, 1)));
  return 1;
}

function setLibrary(name: string, entry: string, call: (from: State) => number): void {
  lua.lua_createtable(state, 0, 1);
  lua.lua_pushcfunction(state, call);
  lua.lua_setfield(state, -2, lstring(entry));
  lua.lua_setglobal(state, lstring(name));
}

function check(status: number): void {
  if (status === lua.LUA_OK) return;
  const message = lua.lua_tojsstring(state, -1);
  lua.lua_pop(state, 1);
  throw new Error(`ERR ${message}`);
}

lualib.luaL_openlibs(state);
setLibrary('redis', 'call', callRedis);
setLibrary('cjson', 'decode', decodeJson);
check(
  lauxlib.luaL_loadstring(
    state,
    lstring(`
      unpack = table.unpack
      local whole = tonumber
      function tonumber(value, base)
        local number = whole(value, base)
        return number and number + 0.0
      end
    `),
  ),
);
lua.lua_call(state, 0, 0);

function functionOf(script: string): number {
  let known = compiled.get(script);
  if (known === undefined) {
    check(lauxlib.luaL_loadstring(state, lstring(script)));
    known = lauxlib.luaL_ref(state, lua.LUA_REGISTRYINDEX);
    compiled.set(script, known);
  }
  return known;
}

export function runScript(
  on: Store,
  script: string,
  keys: readonly string[],
  args: readonly string[],
): Reply {
  store = on;
  push(state, [...keys]);
  lua.lua_setglobal(state, lstring('KEYS'));
  push(state, [...args]);
  lua.lua_setglobal(state, lstring('ARGV'));
  lua.lua_rawgeti(state, lua.LUA_REGISTRYINDEX, functionOf(script));
  check(lua.lua_pcall(state, 0, 1, 0));
  const reply = replyAt(state, lua.lua_gettop(state));
  lua.lua_pop(state, 1);
  return reply;
}

/** What is used here of fengari, which brings no types. */
declare module 'fengari' {
  type State = { readonly opaque: unique symbol };
  type Text = Uint8Array;
  interface Fengari {
    readonly to_luastring: (text: string) => Text;
    readonly to_jsstring: (text: Text) => string;
    readonly lua: {
      readonly LUA_OK: number;
      readonly LUA_REGISTRYINDEX: number;
      readonly LUA_TNIL: number;
      readonly LUA_TBOOLEAN: number;
      readonly LUA_TNUMBER: number;
      readonly LUA_TSTRING: number;
      readonly LUA_TTABLE: number;
      lua_call(state: State, args: number, results: number): void;
      lua_pcall(state: State, args: number, results: number, handler: number): number;
      lua_createtable(state: State, items: number, fields: number): void;
      lua_gettop(state: State): number;
      lua_pop(state: State, count: number): void;
      lua_pushboolean(state: State, value: boolean): void;
      lua_pushnil(state: State): void;
      lua_pushnumber(state: State, value: number): void;
      lua_pushstring(state: State, value: Text): void;
      lua_pushcfunction(state: State, call: (state: State) => number): void;
      lua_rawgeti(state: State, index: number, at: number): number;
      lua_rawseti(state: State, index: number, at: number): void;
      lua_rawlen(state: State, index: number): number;
      lua_next(state: State, index: number): number;
      lua_setfield(state: State, index: number, name: Text): void;
      lua_setglobal(state: State, name: Text): void;
      lua_toboolean(state: State, index: number): boolean;
      lua_tonumber(state: State, index: number): number;
      lua_tojsstring(state: State, index: number): string;
      lua_type(state: State, index: number): number;
    };
    readonly lauxlib: {
      luaL_newstate(): State;
      luaL_loadstring(state: State, text: Text): number;
      luaL_ref(state: State, table: number): number;
    };
    readonly lualib: { luaL_openlibs(state: State): void };
  }
  const fengari: Fengari;
  export default fengari;
}

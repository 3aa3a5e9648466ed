# What is made inside the repository: npm packages, the TypeScript build, the guest. Needs step.sh.

ensure_npm_packages() {
  is_stale node_modules/.package-lock.json package-lock.json || return 0
  step 'installing npm packages' limit 900 npm ci --no-audit --no-fund ||
    stop 'npm could not install the packages (see above).'
  touch node_modules/.package-lock.json
}

ensure_build() {
  is_stale dist/.stamp services shared package-lock.json tsconfig.json tsconfig.build.json || return 0
  # The stamp is as old as the start of the build: what is saved meanwhile counts as newer.
  touch .cofferdam/build-began
  step 'building Cofferdam' limit 300 npm run build || stop 'The build failed (see above).'
  mv .cofferdam/build-began dist/.stamp
}

ensure_guest() {
  is_stale build/guest services/worker/guest scripts/build-guest || return 0
  if [ "$(uname -s)" = Darwin ]; then
    # The guest is a Linux program for the engine's processor: it is compiled in the sandbox image that has a compiler.
    step 'building the guest in a container' limit 300 docker run --rm --network none --user "$(id -u):$(id -g)" \
      --volume "$PWD:/src" --workdir /src cofferdam-image/base:latest sh scripts/build-guest ||
      stop 'The guest did not compile (see above).'
  else
    step 'building the guest' limit 300 scripts/build-guest || stop 'The guest did not compile (see above).'
  fi
  touch build/guest
}

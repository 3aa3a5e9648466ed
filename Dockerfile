# One image for `cofferdam api` and `cofferdam worker`. docker-compose.yml runs both.
ARG NODE_IMAGE=node:20-bookworm-slim

FROM ${NODE_IMAGE} AS build
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends gcc libc6-dev musl-tools \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY . .
RUN scripts/build-guest && npm run build

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund

FROM ${NODE_IMAGE}
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/build build
COPY --from=build /app/dist dist
COPY package.json ./
COPY images/catalogue.json images/
# By number, so that an orchestrator can see that it is not root. 1000 is `node` in the official images.
USER 1000:1000
EXPOSE 7070
ENTRYPOINT ["node", "/app/dist/services/cli/main.js"]
CMD ["api"]

/** Docker's images, as the image store needs them. */
import { limited } from '../../../shared/limited.ts';
import type { EngineAddress } from './attach.ts';
import {
  CALL_TIMEOUT_MS,
  type Docker,
  openDocker,
  promised,
  removeContainer,
  statusOf,
  within,
} from './docker.ts';
import { ImageBuildError, type ImageTransport } from './image-store.ts';

const BUILD_TIMEOUT_MS = 120_000;

export function dockerImages(address: EngineAddress): ImageTransport {
  const docker = openDocker(address);
  return {
    async inspect(reference) {
      try {
        const image = await limited(docker.getImage(reference).inspect(), CALL_TIMEOUT_MS);
        return {
          digest: image.Id,
          volumes: Object.keys(image.Config.Volumes ?? {}),
          onBuild: (image.Config.OnBuild as string[] | null) ?? [],
        };
      } catch (error) {
        if (statusOf(error) === 404) return undefined;
        throw error;
      }
    },
    async build(context, labels) {
      const stream = await docker.buildImage(
        context as unknown as NodeJS.ReadableStream,
        {
          labels,
          forcerm: true,
          networkmode: 'none',
          ...within(BUILD_TIMEOUT_MS),
        } as Docker.ImageBuildOptions,
      );
      const events = await new Promise<{ aux?: { ID?: string }; error?: string }[]>(
        (resolve, reject) =>
          docker.modem.followProgress(stream, (error, output) =>
            error ? reject(new ImageBuildError(error.message, { cause: error })) : resolve(output),
          ),
      );
      const id = events.findLast((event) => event.aux?.ID !== undefined)?.aux?.ID;
      if (id === undefined)
        throw new ImageBuildError(events.at(-1)?.error ?? 'the build made no image');
      return id;
    },
    async tag(id, repository, tag) {
      await docker.getImage(id).tag({ repo: repository, tag, ...within(CALL_TIMEOUT_MS) });
    },
    async removeImage(id) {
      await docker.getImage(id).remove({ force: true, ...within(CALL_TIMEOUT_MS) });
    },
    async withFiles(id, read) {
      const container = await docker.createContainer({
        Image: id,
        Entrypoint: ['/never-started'],
        NetworkDisabled: true,
        HostConfig: { NetworkMode: 'none', LogConfig: { Type: 'none', Config: {} } },
        ...within(CALL_TIMEOUT_MS),
      } as Docker.ContainerCreateOptions);
      try {
        const files = promised<NodeJS.ReadableStream>(
          container.export(within(BUILD_TIMEOUT_MS) as never),
        );
        return await read(await files);
      } finally {
        await removeContainer(docker, container.id);
      }
    },
  };
}

/*
 * Shared memory, message queues and semaphores of System V have no folder and no owner that must
 * live: what a job made stays until somebody removes it, and only its own uid may.
 */
#include "guest.h"

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

/* semctl() leaves it to its caller to declare this. */
union semctl {
  struct semid_ds *one;
  struct seminfo *all;
};

/* The last index in use; `count` is how many there are. */
static int shm_last(int *count) {
  struct shm_info info = { 0 };
  int last = shmctl(0, SHM_INFO, (struct shmid_ds *)&info);
  *count = info.used_ids;
  return last;
}

static int sem_last(int *count) {
  struct seminfo info = { 0 };
  int last = semctl(0, 0, SEM_INFO, (union semctl){ .all = &info });
  *count = info.semusz;
  return last;
}

static int msg_last(int *count) {
  struct msginfo info = { 0 };
  int last = msgctl(0, MSG_INFO, (struct msqid_ds *)&info);
  *count = info.msgpool;
  return last;
}

/* The id at an index, whatever mode the job gave what is there; below 0 where nothing is. */
static int shm_id(int index) {
  struct shmid_ds one;
  return shmctl(index, SHM_STAT_ANY, &one);
}

static int sem_id(int index) {
  struct semid_ds one;
  return semctl(index, 0, SEM_STAT_ANY, (union semctl){ .one = &one });
}

static int msg_id(int index) {
  struct msqid_ds one;
  return msgctl(index, MSG_STAT_ANY, &one);
}

static void shm_remove(int id) { shmctl(id, IPC_RMID, NULL); }
static void sem_remove(int id) { semctl(id, 0, IPC_RMID); }
static void msg_remove(int id) { msgctl(id, IPC_RMID, NULL); }

static const struct kind_of_ipc {
  int (*last)(int *count);
  int (*id)(int index);
  void (*remove)(int id);
} kinds[] = {
  { shm_last, shm_id, shm_remove },
  { sem_last, sem_id, sem_remove },
  { msg_last, msg_id, msg_remove },
};

/* Where the kernel has none of it there is nothing to count. */
static int count_of(const struct kind_of_ipc *kind, int *last) {
  int count;
  *last = kind->last(&count);
  if (*last < 0 && errno != ENOSYS)
    end(END_FAILED, "counting what System V IPC keeps: %m");
  return *last < 0 ? 0 : count;
}

/* Our effective uid, and nothing else here goes by it. The other two stay, and are the way back. */
static void act_as(uid_t uid) {
  if (setresuid((uid_t)-1, uid, (uid_t)-1) < 0)
    end(END_FAILED, "setresuid: %m");
}

void ipc_remove(uid_t uid) {
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    int last;
    if (count_of(&kinds[i], &last) == 0)
      continue;
    act_as(uid);
    for (int index = 0; index <= last; index++) {
      int id = kinds[i].id(index);
      if (id >= 0)
        kinds[i].remove(id);
    }
    act_as(0);
    if (count_of(&kinds[i], &last) > 0)
      end(END_FAILED, "System V IPC of the job cannot be removed");
  }
}

/*
 * A library to preload into a server. It journals what has been made durable, and cuts the power at a chosen moment.
 *
 * POWER_ROOT       the data directory (absolute); paths outside it are ignored
 * POWER_JOURNAL    the journal: one line per event, in order:
 *                    C ino path     a name was created for a new (or truncated) file
 *                    M path         a directory was created
 *                    R from<TAB>to  renamed
 *                    U path         unlinked
 *                    X path         a directory was removed
 *                    S ino bytes    a file was synced at this length
 *                    D bytes path   a directory was synced: its changes in the journal's first `bytes` bytes are durable
 * POWER_GRAVEYARD  a directory on the same file system: unlinked and replaced files are kept there under their inode
 *                  numbers, since a power failure undoes an unlink that was not synced
 * POWER_SWITCH     a file: three 32-bit integers (a countdown, what it counts, whether the power is off) and a string that
 *                  a path must contain to be counted. At 0 the server dies by SIGKILL, right before the counted operation.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, NAME = 4 };

struct power { _Atomic int countdown, counted, off; char within[52]; };

static pthread_mutex_t names = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *root, *graveyard;
static size_t root_length;
static int journal = -1;
static struct power *power;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void set_up(void) {
  const char *journal_path = getenv("POWER_JOURNAL"), *switch_path = getenv("POWER_SWITCH");
  root = getenv("POWER_ROOT");
  graveyard = getenv("POWER_GRAVEYARD");
  if (!root || !graveyard || !journal_path || !switch_path) { root = NULL; return; }
  root_length = strlen(root);
  journal = REAL(open)(journal_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  int fd = REAL(open)(switch_path, O_RDWR | O_CLOEXEC);
  power = mmap(NULL, sizeof *power, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (journal < 0 || fd < 0 || power == MAP_FAILED) { perror("power-cut"); _exit(70); }
}

static void note(const char *format, ...) {
  char line[9000];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  if (length < 0 || length >= (int)sizeof line || syscall(SYS_write, journal, line, length) != length) _exit(71);
}

static int ours(const char *path) {
  pthread_once(&once, set_up);
  return root && path && strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || !path[root_length]);
}

/* The path of a file descriptor below POWER_ROOT, or NULL. */
static const char *path_of(int fd, char *into, size_t size) {
  pthread_once(&once, set_up);
  if (!root || fd < 0) return NULL;
  char link[40];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, into, size - 1);
  if (length < 0) return NULL;
  into[length] = 0;
  return ours(into) ? into : NULL;
}

static void die(void) {
  for (;;) syscall(SYS_kill, getpid(), SIGKILL);
}

static void about_to(int what, const char *path) {
  if (power->off) die();
  if (!(power->counted & what) || power->countdown <= 0 || !strstr(path, power->within)) return;
  if (atomic_fetch_sub(&power->countdown, 1) != 1) return;
  power->off = 1;
  die();
}

static void bury(const char *path) {
  struct stat found;
  if (lstat(path, &found) != 0 || S_ISDIR(found.st_mode)) return;
  char grave[4200];
  snprintf(grave, sizeof grave, "%s/%llu", graveyard, (unsigned long long)found.st_ino);
  link(path, grave);
}

static void note_opened(const char *path, int fd, int emptied) {
  struct stat found;
  if (fd < 0 || fstat(fd, &found) != 0 || S_ISDIR(found.st_mode)) return;
  note("C %llu %s\n", (unsigned long long)found.st_ino, path);
  if (emptied) note("S %llu 0\n", (unsigned long long)found.st_ino);
}

static int open_noted(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode) {
  if (!(flags & O_CREAT) || !ours(path)) return real(path, flags, mode);
  about_to(NAME, path);
  pthread_mutex_lock(&names);
  int fd = real(path, flags, mode);
  note_opened(path, fd, flags & O_TRUNC);
  pthread_mutex_unlock(&names);
  return fd;
}

#define OPEN(name)                                                  \
  int name(const char *path, int flags, ...) {                      \
    mode_t mode = 0;                                                \
    if (flags & O_CREAT) {                                          \
      va_list arguments;                                            \
      va_start(arguments, flags);                                   \
      mode = va_arg(arguments, mode_t);                             \
      va_end(arguments);                                            \
    }                                                               \
    return open_noted(REAL(name), path, flags, mode);               \
  }
OPEN(open)
OPEN(open64)

#define FOPEN(name)                                                 \
  FILE *name(const char *path, const char *mode) {                  \
    if (mode[0] == 'r' || !ours(path)) return REAL(name)(path, mode); \
    about_to(NAME, path);                                                 \
    pthread_mutex_lock(&names);                                     \
    FILE *file = REAL(name)(path, mode);                            \
    if (file) note_opened(path, fileno(file), mode[0] == 'w');      \
    pthread_mutex_unlock(&names);                                   \
    return file;                                                    \
  }
FOPEN(fopen)
FOPEN(fopen64)

int rename(const char *from, const char *to) {
  if (!ours(from)) return REAL(rename)(from, to);
  about_to(NAME, to);
  pthread_mutex_lock(&names);
  bury(to);
  note("R %s\t%s\n", from, to);
  int result = REAL(rename)(from, to);
  pthread_mutex_unlock(&names);
  return result;
}

static int removed(const char *path, char kind, int (*real)(const char *)) {
  about_to(NAME, path);
  pthread_mutex_lock(&names);
  if (kind == 'U') bury(path);
  int result = real(path);
  /* Journaled after the removal: a failed one is not recorded, and one killed in between was not synced. */
  if (result == 0) note("%c %s\n", kind, path);
  pthread_mutex_unlock(&names);
  return result;
}

int unlink(const char *path) {
  return ours(path) ? removed(path, 'U', REAL(unlink)) : REAL(unlink)(path);
}

int rmdir(const char *path) {
  return ours(path) ? removed(path, 'X', REAL(rmdir)) : REAL(rmdir)(path);
}

int remove(const char *path) {
  if (!ours(path)) return REAL(remove)(path);
  struct stat found;
  return lstat(path, &found) == 0 && S_ISDIR(found.st_mode) ? rmdir(path) : unlink(path);
}

int unlinkat(int directory, const char *path, int flags) {
  char whole[8300], parent[4200];
  if (path[0] == '/') snprintf(whole, sizeof whole, "%s", path);
  else if (path_of(directory, parent, sizeof parent)) snprintf(whole, sizeof whole, "%s/%s", parent, path);
  else whole[0] = 0;
  if (!ours(whole)) return REAL(unlinkat)(directory, path, flags);
  return flags & AT_REMOVEDIR ? rmdir(whole) : unlink(whole);
}

int mkdir(const char *path, mode_t mode) {
  if (!ours(path)) return REAL(mkdir)(path, mode);
  about_to(NAME, path);
  pthread_mutex_lock(&names);
  int result = REAL(mkdir)(path, mode);
  if (result == 0) note("M %s\n", path);
  pthread_mutex_unlock(&names);
  return result;
}

int fflush_unlocked(FILE *file) {
  char path[4200];
  if (file && path_of(fileno(file), path, sizeof path)) about_to(WRITE, path);
  return REAL(fflush_unlocked)(file);
}

/* The length is read before the sync and journaled after it: what the journal calls durable is durable. */
static int synced(int fd, int (*real)(int)) {
  char path[4200];
  struct stat before;
  if (!path_of(fd, path, sizeof path) || fstat(fd, &before) != 0) return real(fd);
  about_to(SYNC, path);
  pthread_mutex_lock(&names);
  struct stat written;
  fstat(journal, &written);
  pthread_mutex_unlock(&names);
  int result = real(fd);
  if (result != 0) return result;
  if (S_ISDIR(before.st_mode)) note("D %lld %s\n", (long long)written.st_size, path);
  else note("S %llu %lld\n", (unsigned long long)before.st_ino, (long long)before.st_size);
  return 0;
}

int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

/* What a hostile or unlucky build step might try, one word each; status 0: it could, 1: it was refused (errno is said).
 * Built static by the tests, so that it runs in an empty root, and run outside the sandbox as well, where it has to work. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static int said(const char *what, int ok) {
  int number = errno;
  printf("%s: %s\n", what, ok ? "done" : strerror(number));
  return ok ? 0 : 1;
}

static int address(const char *host, const char *port, struct sockaddr_storage *out, socklen_t *size) {
  struct sockaddr_in *four = (void *)out;
  struct sockaddr_in6 *six = (void *)out;
  memset(out, 0, sizeof *out);
  if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
    four->sin_family = AF_INET, four->sin_port = htons(atoi(port)), *size = sizeof *four;
  } else {
    inet_pton(AF_INET6, host, &six->sin6_addr);
    six->sin6_family = AF_INET6, six->sin6_port = htons(atoi(port)), *size = sizeof *six;
  }
  return out->ss_family;
}

/* tcp|udp HOST PORT: an answer has to come back */
static int reach(int type, char **a) {
  struct sockaddr_storage to;
  socklen_t size;
  struct timeval limit = {2, 0};
  char answer[8];
  int s = socket(address(a[0], a[1], &to, &size), type, 0);
  setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  int ok = connect(s, (void *)&to, size) == 0 && write(s, "?", 1) == 1 && read(s, answer, sizeof answer) > 0;
  return said("reach", ok);
}

/* unix PATH or @ABSTRACT */
static int local(char **a) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  socklen_t size = offsetof(struct sockaddr_un, sun_path) + strlen(a[0]) + (a[0][0] != '@');
  strcpy(to.sun_path, a[0]);
  if (a[0][0] == '@') to.sun_path[0] = 0;
  int s = socket(AF_UNIX, SOCK_STREAM, 0);
  return said("unix", connect(s, (void *)&to, size) == 0);
}

static int own_loopback(int family) {
  struct sockaddr_storage here;
  socklen_t size;
  address(family == AF_INET ? "127.0.0.1" : "::1", "0", &here, &size);
  int s = socket(family, SOCK_STREAM, 0), c = socket(family, SOCK_STREAM, 0);
  int ok = bind(s, (void *)&here, size) == 0 && listen(s, 1) == 0 && getsockname(s, (void *)&here, &size) == 0 &&
           connect(c, (void *)&here, size) == 0;
  return said("loopback", ok);
}

static int list(const char *path) {
  DIR *d = opendir(path);
  struct dirent *e;
  if (!d) return said(path, 0);
  while ((e = readdir(d)))
    if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) puts(e->d_name);
  return 0;
}

static int show(const char *path) {
  char data[65536];
  int f = open(path, O_RDONLY);
  ssize_t n;
  if (f < 0) return said(path, 0);
  while ((n = read(f, data, sizeof data)) > 0) fwrite(data, 1, n, stdout);
  return n < 0 ? said(path, 0) : 0;
}

/* environs WORD: whether any process's environment holds it */
static int environs(const char *word) {
  DIR *d = opendir("/proc");
  struct dirent *e;
  int found = 0;
  while (d && (e = readdir(d))) {
    char path[300], data[65536];
    snprintf(path, sizeof path, "/proc/%s/environ", e->d_name);
    int f = open(path, O_RDONLY);
    if (f < 0) continue;
    ssize_t n = read(f, data, sizeof data);
    if (n > 0 && memmem(data, n, word, strlen(word))) found = 1;
    close(f);
  }
  errno = ENOENT;
  return said("environ", found);
}

static int touch_memory(size_t megabytes) {
  for (size_t i = 0; i < megabytes; i++) {
    char *p = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return said("memory", 0);
    memset(p, 1, 1 << 20);
  }
  return said("memory", 1);
}

static int forks(int count) {
  int made = 0, last = 0;
  for (int i = 0; i < count; i++) {
    pid_t p = fork();
    if (p == 0) for (;;) pause();
    if (p > 0) made++; else last = errno;
  }
  printf("%d\n", made);
  signal(SIGTERM, SIG_IGN);
  fflush(stdout);
  errno = last;
  int status = said("fork", made == count);
  fflush(stdout);
  signal(SIGCHLD, SIG_IGN);
  return status; /* the children end with the sandbox (outside: the test ends them) */
}

static int flood(long megabytes) {
  static char block[1 << 20];
  memset(block, 'x', sizeof block);
  for (long i = 0; i < megabytes; i++)
    for (size_t done = 0; done < sizeof block;) {
      ssize_t n = write(1, block + done, sizeof block - done);
      if (n < 0) return 1;
      done += n;
    }
  return 0;
}

static int alternate(int lines) {
  for (int i = 0; i < lines; i++) dprintf(1 + i % 2, "%d\n", i);
  return 0;
}

static int daemonize(void) {
  if (fork() == 0) {
    setsid();
    if (fork() == 0) for (;;) pause();
    _exit(0);
  }
  return 0;
}

static int limits(void) {
  struct rlimit core;
  getrlimit(RLIMIT_CORE, &core);
  printf("%ld %ld\n", (long)core.rlim_cur, (long)core.rlim_max);
  return 0;
}

static int identity(void) {
  char host[256], cwd[4096];
  cpu_set_t cpus;
  mode_t mask = umask(0);
  gethostname(host, sizeof host);
  sched_getaffinity(0, sizeof cpus, &cpus);
  printf("uid=%d/%d gid=%d/%d umask=%03o host=%s cwd=%s cpus=%d stdin=%zd\n", getuid(), geteuid(), getgid(), getegid(), mask,
         host, getcwd(cwd, sizeof cwd), CPU_COUNT(&cpus), read(0, cwd, 1));
  return 0;
}

static int capability(void) { /* a namespace that gives capabilities which matter: one in which we may mount */
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS)) return said("unshare", 0);
  return said("mount", mount("none", "/tmp", "tmpfs", 0, "") == 0);
}

int main(int n, char **a) {
  const char *w = n > 1 ? a[1] : "";
  int status = 2;
  setvbuf(stdout, 0, _IOLBF, 0);
#define WORD(name) (!strcmp(w, name))
  if (WORD("tcp")) status = reach(SOCK_STREAM, a + 2);
  if (WORD("udp")) status = reach(SOCK_DGRAM, a + 2);
  if (WORD("unix")) status = local(a + 2);
  if (WORD("loopback4")) status = own_loopback(AF_INET);
  if (WORD("loopback6")) status = own_loopback(AF_INET6);
  if (WORD("socket")) status = said("socket", socket(atoi(a[2]), atoi(a[3]), 0) >= 0);
  if (WORD("list")) status = list(a[2]);
  if (WORD("show")) status = show(a[2]);
  if (WORD("write")) {
    int f = open(a[2], O_WRONLY | O_CREAT, 0644);
    status = said("write", f >= 0 && write(f, "probe", 5) == 5);
  }
  if (WORD("open")) status = said("open", open(a[2], O_WRONLY) >= 0); /* without writing: for /proc/sys and devices */
  if (WORD("read")) status = said("read", open(a[2], O_RDONLY) >= 0);
  if (WORD("chmod")) status = said("chmod", chmod(a[2], 04777) == 0);
  if (WORD("unlink")) status = said("unlink", unlink(a[2]) == 0);
  if (WORD("mkdir")) status = said("mkdir", mkdir(a[2], 0755) == 0);
  if (WORD("rename")) status = said("rename", rename(a[2], a[3]) == 0);
  if (WORD("link")) status = said("link", link(a[2], a[3]) == 0);
  if (WORD("touch")) status = said("utimensat", utimensat(AT_FDCWD, a[2], 0, 0) == 0);
  if (WORD("mknod")) status = said("mknod", mknod(a[2], (a[3][0] == 'b' ? S_IFBLK : S_IFCHR) | 0666, makedev(atoi(a[4]), atoi(a[5]))) == 0);
  if (WORD("euid")) { printf("%d\n", geteuid()); status = 0; }
  if (WORD("setuid")) status = said("setuid", setuid(0) == 0);
  if (WORD("kill")) status = said("kill", kill(atoi(a[2]), 0) == 0);
  if (WORD("killany")) status = said("kill", kill(-1, 0) == 0); /* whether there is anybody to signal */
  if (WORD("ptrace")) status = said("ptrace", ptrace(PTRACE_ATTACH, atoi(a[2]), 0, 0) == 0);
  if (WORD("userns")) status = said("unshare", unshare(CLONE_NEWUSER) == 0);
  if (WORD("capability")) status = capability();
  if (WORD("mount")) status = said("mount", mount("none", "/tmp", "tmpfs", 0, "") == 0);
  if (WORD("remount")) status = said("remount", mount("none", a[2], 0, MS_REMOUNT | MS_BIND, "") == 0);
  if (WORD("addkey")) status = said("add_key", syscall(SYS_add_key, "user", "kubewright-probe", "x", 1, -3) >= 0);
  if (WORD("uring")) { char p[120] = {0}; status = said("io_uring_setup", syscall(SYS_io_uring_setup, 1, p) >= 0); }
  if (WORD("environs")) status = environs(a[2]);
  if (WORD("environment")) { for (char **e = environ; *e; e++) puts(*e); status = 0; }
  if (WORD("memory")) status = touch_memory(atol(a[2]));
  if (WORD("forks")) status = forks(atoi(a[2]));
  if (WORD("flood")) status = flood(atol(a[2]));
  if (WORD("alternate")) status = alternate(atoi(a[2]));
  if (WORD("daemon")) status = daemonize();
  if (WORD("limits")) status = limits();
  if (WORD("identity")) status = identity();
  if (WORD("exit")) status = atoi(a[2]);
  if (WORD("signal")) { raise(atoi(a[2])); status = 0; }
  if (WORD("create")) { umask(atoi(a[3])); status = said("create", creat(a[2], 0666) >= 0 && mkdir(a[4], 0777) == 0); }
  if (WORD("linger")) { /* seconds marker: says that it began, and stays */
    puts("begun");
    sleep(atoi(a[2]));
    puts("over");
    status = 0;
  }
  fflush(stdout);
  return status;
}

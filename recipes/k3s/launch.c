/* launch: start a helper program of Debian's with the libraries that lie beside it, whatever the host is.
 *
 * Links in bin/ and bin/aux/ lead here. This program is bin/aux/launch; the programs, their loader and their libraries are
 * below bin/aux/debian/, and bin/aux/debian/run/NAME is the program that is called NAME. A NAME that is not there is a link
 * in bin/aux/ to another one (iptables -> xtables-nft-multi), which may change while k3s runs (xtables-set-mode.sh).
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIBRARIES "usr/lib/x86_64-linux-gnu"
#define LOADER LIBRARIES "/ld-linux-x86-64.so.2"

static char aux[PATH_MAX];

static void fail(const char *what)
{
	fprintf(stderr, "launch: %s: %s\n", what, strerror(errno));
	exit(127);
}

static char *last_part(char *path)
{
	char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static char *below(const char *format, const char *name)
{
	static char texts[8][2 * PATH_MAX];
	static int next;
	char *text = texts[next++ % 8];
	size_t used = snprintf(text, sizeof texts[0], "%s/", aux);

	if (used + snprintf(text + used, sizeof texts[0] - used, format, name) >= PATH_MAX) {
		errno = ENAMETOOLONG;
		fail(name);
	}
	return text;
}

static char *program_called(char *name)
{
	static char target[PATH_MAX];

	for (int hops = 0; hops < 8; hops++) {
		char *program = below("debian/run/%s", name);
		if (access(program, X_OK) == 0)
			return program;
		ssize_t size = readlink(below("%s", name), target, sizeof target - 1);
		if (size < 0)
			break;
		target[size] = 0;
		name = last_part(target);
	}
	fail(name);
	return NULL;
}

int main(int argc, char **argv)
{
	char *given[argc + 8];
	int count = 0;
	ssize_t size = readlink("/proc/self/exe", aux, sizeof aux - 1);

	if (size < 0)
		fail("/proc/self/exe");
	aux[size] = 0;
	*strrchr(aux, '/') = 0;
	if (argc < 1)
		return 127;
	char *name = last_part(argv[0]);
	char *program = strdup(program_called(name));
	setenv("XTABLES_LIBDIR", below("debian/%s", LIBRARIES "/xtables"), 1);
	given[count++] = below("debian/%s", LOADER);
	given[count++] = "--inhibit-cache";
	given[count++] = "--library-path";
	given[count++] = below("debian/%s", LIBRARIES);
	given[count++] = "--argv0";
	given[count++] = name;
	given[count++] = program;
	for (int at = 1; at < argc; at++)
		given[count++] = argv[at];
	given[count] = NULL;
	execv(given[0], given);
	fail(given[0]);
}

/*
 * Files that may hold secrets: regular ones, closed to others and outside of
 * the document root.
 */
#include "base/private_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Is path, an existing file, below the web server's document root? */
static bool
below_document_root(const char *path)
{
	const char *root = getenv("DOCUMENT_ROOT");
	char *dir, *file;
	size_t n;
	bool below = false;

	if (root == NULL || *root == '\0')
		return false;
	dir = realpath(root, NULL);
	file = realpath(path, NULL);
	if (dir != NULL && file != NULL) {
		n = strlen(dir);
		n -= dir[n - 1] == '/'; /* the root of the file system */
		below = strncmp(dir, file, n) == 0 && file[n] == '/';
	}
	free(dir);
	free(file);
	return below;
}

/* Whether the open file may hold secrets, and its size; else the reason, in
 * *err. */
static bool
check_private(
    int fd, const char *path, size_t max, size_t *size, struct buf *err)
{
	const size_t before = err->len;
	struct stat st;

	if (fstat(fd, &st) == -1)
		buf_addf(err, "%s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		buf_addf(err, "%s is not a regular file", path);
	else if ((st.st_mode & 007) != 0)
		buf_addf(err,
		    "%s is open to others (mode %04o); run: "
		    "chmod o= '%s'",
		    path, (unsigned)(st.st_mode & 07777), path);
	else if (below_document_root(path))
		buf_addf(err,
		    "%s lies below the document root (%s); move it "
		    "to where no web server looks",
		    path, getenv("DOCUMENT_ROOT"));
	else if (st.st_size > (off_t)max)
		buf_addf(err, "%s has %lld bytes, may have %zu", path,
		    (long long)st.st_size, max);
	else
		*size = (size_t)st.st_size;
	return err->len == before;
}

bool
private_file_read(
    int fd, const char *path, size_t max, struct buf *out, struct buf *err)
{
	size_t room = 0;
	ssize_t n;

	if (!check_private(fd, path, max, &room, err))
		return false;
	do {
		/* One byte more than there should be finds the end. */
		buf_reserve(out, room + 1);
		n = read(fd, out->data + out->len, room + 1);
		if (n > 0)
			out->len += (size_t)n;
	} while ((n > 0 && out->len <= max) || (n == -1 && errno == EINTR));
	if (n == -1) {
		buf_addf(err, "%s: %s", path, strerror(errno));
		return false;
	}
	if (out->len > max) {
		buf_addf(err, "%s has more than %zu bytes", path, max);
		return false;
	}
	buf_reserve(out, 0);
	out->data[out->len] = '\0';
	return true;
}

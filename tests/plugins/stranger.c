/* stranger.c - exports the symbol of a plugin, but what is there is none. It knows nothing of the interface. */
#include <stdint.h>

#ifdef FUNCTION
int cqlferry_plugin(void);

int cqlferry_plugin(void)
{
	return 1;
}
#else
extern const uint32_t cqlferry_plugin[2];
const uint32_t cqlferry_plugin[2] = { 1, 0 };
#endif

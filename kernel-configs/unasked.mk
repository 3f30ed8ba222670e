# SPDX-License-Identifier: GPL-2.0-only
# What make reads before each of its makefiles (MAKEFILES).  kbuild descends into all directories
# of these subsystems, whether or not anybody asked for what is in them: 170 of the 430 that it
# looks into for every build of a guest's kernel.  Where none of a subsystem's own switches is set,
# its directory is empty; kbuild's assignments to a variable that is overridden do nothing.

ifneq ($(filter drivers/clk drivers/gpu/drm drivers/media,$(obj)),)
include include/config/auto.conf

asked-drivers/clk := $(CONFIG_HAVE_CLK)
asked-drivers/gpu/drm := $(CONFIG_DRM)$(CONFIG_DRM_PANEL_ORIENTATION_QUIRKS)
asked-drivers/media := $(CONFIG_MEDIA_SUPPORT)$(CONFIG_RC_CORE)$(CONFIG_CEC_CORE)

ifeq ($(asked-$(obj)),)
override obj-y :=
override obj-m :=
endif
endif

# SPDX-License-Identifier: MIT OR Apache-2.0
#
# The version lives in one place, the public header; the build reads it there.

function(rl_read_version header out)
  set(parts)
  foreach(part IN ITEMS MAJOR MINOR PATCH)
    file(STRINGS "${header}" line REGEX "^#define[ \t]+RL_VERSION_${part}[ \t]+[0-9]+")
    if(NOT line MATCHES "RL_VERSION_${part}[ \t]+([0-9]+)")
      message(FATAL_ERROR "${header} does not define RL_VERSION_${part}")
    endif()
    list(APPEND parts ${CMAKE_MATCH_1})
  endforeach()
  list(JOIN parts "." version)

  file(STRINGS "${header}" line REGEX "^#define[ \t]+RL_VERSION_STRING[ \t]+\"${version}\"")
  if(NOT line)
    message(FATAL_ERROR "${header}: RL_VERSION_STRING is not \"${version}\"")
  endif()

  # A new version must configure anew.
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${header}")
  set(${out} ${version} PARENT_SCOPE)
endfunction()

-- json_schema: whether a decoded JSON value is what a schema says. For other policies, which get it by
--
--   local fits = require "json_schema"
--   local why = fits(value, schema)                   -- nil: it is; else where it is not, and how
--
-- Of JSON Schema it knows: type, enum, const, properties, required, additionalProperties, items, minItems, maxItems,
-- minLength, maxLength, minimum, maximum, anyOf, and $ref within the schema. What it does not know it lets pass.
local DEEPEST = 64                                     -- of a value, and of references to references

local function is_array(v) return type(v) == "table" and (getmetatable(v) == "JSON array" or v[1] ~= nil) end

local function equal(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  if is_array(a) ~= is_array(b) then return false end
  for k, v in pairs(a) do
    if not equal(v, b[k]) then return false end
  end
  for k in pairs(b) do
    if a[k] == nil then return false end
  end
  return true
end

local is = {
  object = function(v) return type(v) == "table" and not is_array(v) end,
  array = is_array,
  string = function(v) return type(v) == "string" end,
  number = function(v) return type(v) == "number" end,
  integer = function(v) return type(v) == "number" and v == math.floor(v) end,
  boolean = function(v) return type(v) == "boolean" end,
  null = function(v) return v == weir.json.null end,
}

local function is_one_of(v, types)
  if type(types) == "string" then types = { types } end
  for _, name in ipairs(types) do
    if not is[name] or is[name](v) then return true end
  end
end

-- "#/$defs/name" and the like, from the root of the schema.
local function find(root, ref)
  local at = root
  for part in ref:gsub("^#/?", ""):gmatch("[^/]+") do
    if type(at) ~= "table" then return end
    part = part:gsub("~1", "/"):gsub("~0", "~")
    at = at[part]
  end
  return at
end

local check

local function check_object(v, s, root, place, depth)
  local known = s.properties or {}
  for _, name in ipairs(s.required or {}) do
    if v[name] == nil then return place .. "." .. name .. " is missing" end
  end
  for name, item in pairs(v) do
    local rule = known[name]
    if rule == nil then rule = s.additionalProperties end
    local why = check(item, rule, root, place .. "." .. name, depth)
    if why then return rule == false and place .. "." .. name .. " is not in the schema" or why end
  end
end

local function check_array(v, s, root, place, depth)
  if s.minItems and #v < s.minItems then return place .. " has too few items" end
  if s.maxItems and #v > s.maxItems then return place .. " has too many items" end
  if s.items == nil then return end
  for i, item in ipairs(v) do
    local why = check(item, s.items, root, place .. "[" .. i - 1 .. "]", depth)
    if why then return why end
  end
end

local function check_string(v, s, place)
  local length = (s.minLength or s.maxLength) and (utf8.len(v) or #v)
  if s.minLength and length < s.minLength then return place .. " is too short" end
  if s.maxLength and length > s.maxLength then return place .. " is too long" end
end

local function check_number(v, s, place)
  if s.minimum and v < s.minimum then return place .. " is below " .. s.minimum end
  if s.maximum and v > s.maximum then return place .. " is above " .. s.maximum end
end

local function any(v, list, root, place, depth)
  for _, s in ipairs(list) do
    if not check(v, s, root, place, depth) then return true end
  end
end

function check(v, s, root, place, depth)
  if s == false then return place .. " may not be there" end
  if type(s) ~= "table" then return end
  if depth > DEEPEST then return place .. " lies too deep" end
  depth = depth + 1
  if s["$ref"] then
    local why = check(v, find(root, s["$ref"]), root, place, depth)
    if why then return why end
  end
  if s.type and not is_one_of(v, s.type) then
    return place .. " is not of type " .. (type(s.type) == "table" and table.concat(s.type, " or ") or s.type)
  end
  if s.const ~= nil and not equal(v, s.const) then return place .. " is not the constant" end
  if s.enum then
    local found = false
    for _, one in ipairs(s.enum) do found = found or equal(v, one) end
    if not found then return place .. " is none of the values" end
  end
  if s.anyOf and not any(v, s.anyOf, root, place, depth) then return place .. " fits none of anyOf" end
  if is.object(v) then return check_object(v, s, root, place, depth) end
  if is_array(v) then return check_array(v, s, root, place, depth) end
  if type(v) == "string" then return check_string(v, s, place) end
  if type(v) == "number" then return check_number(v, s, place) end
end

return function(value, schema) return check(value, schema, schema, "$", 0) end
